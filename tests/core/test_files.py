"""Whatever a parser raises over a file becomes one sentence; what is our own fault stays what it is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import ChannelError, DatasetError, ModelError, VstainError
from napari_vstain.core.files import reading

PROVOKED = [
    ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, AssertionError, OSError, EOFError,
    MemoryError, OverflowError, RecursionError, ZeroDivisionError, UnicodeError, StopIteration, NotImplementedError,
    Exception, Warning, FileNotFoundError, PermissionError, IsADirectoryError,
]  # fmt: skip


@given(kind=st.sampled_from(PROVOKED), text=st.text(max_size=300))
def test_whatever_a_file_provokes_is_one_sentence_with_its_cause(kind: type[Exception], text: str) -> None:
    error = kind(text)
    with pytest.raises(ModelError) as caught, reading("model", Path("a.ckpt"), kind=ModelError):
        raise error
    assert caught.value.__cause__ is error
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("model 'a.ckpt': ")


def test_a_sentence_passes_as_it_is() -> None:
    sentence = ChannelError("channel", "DAPI", "is not there", "choose another")
    with pytest.raises(VstainError) as caught, reading("image", "a.tif"):
        raise sentence
    assert caught.value is sentence


@pytest.mark.parametrize("kind", [NameError, ModuleNotFoundError, KeyboardInterrupt])
def test_what_no_file_can_provoke_stays_what_it_is(kind: type[BaseException]) -> None:
    with pytest.raises(kind), reading("image", "a.tif"):
        raise kind


def test_sizes_that_lie_are_said_to_lie() -> None:
    with pytest.raises(DatasetError, match="asks for more memory than there is"), reading("image", "a.tif"):
        raise MemoryError
