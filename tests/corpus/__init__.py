"""Bad input as files: see README.md."""

import pytest

pytest.register_assert_rewrite("tests.corpus.runner")
