"""`python -m tf_examples` is the command `tf-examples`."""

import sys

from tf_examples.cli import main

sys.exit(main())
