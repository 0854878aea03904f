"""The exercises, solved. A student's file is made of one by `_exercise.stub`."""
