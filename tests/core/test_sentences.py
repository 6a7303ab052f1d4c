"""Whatever code of others raises is one sentence; what our own raises stays what it is."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import ModelError, VstainError
from napari_vstain.core.sentences import third_party

KINDS = st.sampled_from(
    [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, Exception)
     and not issubclass(kind, UnicodeError | ExceptionGroup | Warning)]
) | st.text("abc", min_size=1).map(lambda name: type(name, (Exception,), {}))  # fmt: skip


def code_of(module: str):
    """Return a function that raises what it is given, as if it stood in `module`."""
    space = {"__name__": module}
    exec("def run(error):\n    raise error", space)
    return space["run"]


def attempt(error: Exception, *modules: str) -> None:
    with third_party("network", "Net", "cannot be run", "use another", kind=ModelError):
        code_of(modules[-1])(error)


OTHERS = st.sampled_from(["torch.nn", "somebody", "napari_vstainless", "napari_vstain.core.models.unet"])
OURS = st.sampled_from(["napari_vstain", "napari_vstain.core.training.losses"])


@given(kind=KINDS, said=st.text(), module=OTHERS)
def test_whatever_others_raise_is_one_sentence_with_its_cause(kind, said, module):
    error = kind(said)
    with pytest.raises(ModelError, match=r"^network 'Net': cannot be run \(") as caught:
        attempt(error, module)
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


@given(kind=KINDS, module=OURS)
def test_what_our_own_code_raises_passes_as_it_is(kind, module):
    error = kind("wrong")
    with pytest.raises(kind) as caught:
        attempt(error, module)
    assert caught.value is error


@given(st.one_of(OTHERS, OURS))
def test_a_sentence_of_ours_passes_wherever_it_was_raised(module):
    with pytest.raises(VstainError, match=r"^other: is one already"):
        attempt(VstainError("other", None, "is one already", "leave it"), module)
