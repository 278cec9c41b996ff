"""python -m xlib.course.checks collect folder/ [--csv table.csv]"""

import sys

from xlib.course.checks.handed_in import main

sys.exit(main())
