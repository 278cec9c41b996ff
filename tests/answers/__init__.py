"""What learners write: for each module of xlib.course.checks one with its name, read by tests/test_exercises.py.

RIGHT: exercise and answer. WRONG: exercise, answer, the case that finds it, and what the check must say of it.
"""
