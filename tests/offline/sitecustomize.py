"""Python imports this module at start-up where its folder is on PYTHONPATH: tests/conftest.py puts it there, so that
the kernels and scripts that tests start are guarded as well."""

import loopback_only

loopback_only.install()
