"""Results as text."""

from __future__ import annotations

from typing import Any

from pennylane_qexec.circuits.serialization.values import content_of, form_of, guarded, text_of, value_of
from pennylane_qexec.errors import ConfigurationError


def result_text(result: Any) -> str:
    """A result as text that is safe to load and can be read without this package.

    Args:
        result: what PennyLane returns for a circuit: numbers, text, NumPy's arrays and scalars, and tuples, lists and
            mappings of them, in any depth.

    Returns:
        JSON in ASCII, on one line. Equal results of the same types give equal texts, in every process and version of
        Python.

    Raises:
        ConfigurationError: there is something else in the result.
    """
    return guarded("the result", lambda: text_of("result", {"result": result_form(result)}))


def result_of(text: str) -> Any:
    """The result of a text.

    Args:
        text: what :func:`result_text` has written. It may come from anybody: nothing in it is executed, and no more
            memory is taken than in proportion to its length.

    Returns:
        What was written, with the types it had: ``np.float64`` and ``float``, tuples and lists, dtypes and shapes.
        Tensors of Autograd, JAX and Torch have become NumPy's arrays.

    Raises:
        ConfigurationError: the text is no stored result, damaged, or of a later version.
    """
    content = content_of("result", text)
    if set(content) != {"result"}:
        raise ConfigurationError(f"a stored result has the parts {sorted(content)!r:.80}: the text is damaged.")
    return guarded("the stored result", lambda: result_value(content["result"]))


def result_form(result: Any) -> Any:
    """A result as JSON has it, without a format and a version, for documents with more than one in them.

    Raises:
        ConfigurationError: as for :func:`result_text`.
    """
    return form_of(result, result_form)


def result_value(form: Any) -> Any:
    """The result of a form that :func:`result_form` has made.

    Raises:
        ConfigurationError: the form is damaged.
    """
    return value_of(form, result_value)
