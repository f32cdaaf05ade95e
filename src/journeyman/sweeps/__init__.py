"""Many jobs from one command line: planned, launched, accounted for, resumed."""
