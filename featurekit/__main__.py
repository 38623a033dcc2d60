"""`python -m featurekit` is the command `featurekit`."""

import sys

from featurekit.cli import main

sys.exit(main())
