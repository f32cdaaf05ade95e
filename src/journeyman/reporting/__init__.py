"""What a person reads: progress while it runs, tables when it is done."""
