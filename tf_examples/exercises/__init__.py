"""The classroom: eighteen exercises that check themselves, and the grader of a whole class.

`catalogue` lists them. Each is two files of its name: `solutions/NAME.py`, the student's file,
complete, of which the student gets the part outside the solution; and `specs/NAME.py`, its hints,
cases and known mistakes.
"""
