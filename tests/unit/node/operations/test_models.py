"""What a reviewer reads of a content, whatever its owner handed over."""

from __future__ import annotations

import pytest

from shuiqiao.models.model import ModelForm
from shuiqiao.node.operations.models import content_text


@pytest.mark.parametrize("form", [*ModelForm])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe not text", b"{}"])
def test_what_cannot_run_is_read_all_the_same(content, form):
    assert isinstance(content_text(content, form=form), str)


def test_bytes_that_are_no_text_are_written_as_escapes():
    assert content_text(b"\xff not text", form=ModelForm.SCORECARD) == r"\xff not text"
