"""What the checker knows of each exercise: hints, cases, known mistakes."""
