"""xlib: the small package under the course. One module a lesson; import the module that you need."""

__version__ = "0.1.0"
