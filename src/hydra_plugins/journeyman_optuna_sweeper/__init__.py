"""Hydra's door to journeyman's sweepers; it finds sweepers in ``hydra_plugins`` alone.

Hydra imports these modules at every start, ``--help`` included: nothing heavy stands at their top.
"""
