"""Pickles that lie: of lengths, of tensors, and of structures that have no end."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attacks.assembling import (
    DICT,
    FALSE,
    LIST,
    MARK,
    NONE,
    START,
    STOP,
    TRUE,
    call,
    dictionary,
    integer,
    name,
    program,
    several,
    storage,
    tensor,
    text,
)
from tests.attacks.hostile_pickles import CALLBACK, ORDERED, Cases


def all_cases() -> Cases:
    """Every attack of this module."""
    return {**dict(claims()), **dict(structures()), **dict(data())}


def claims() -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Lengths that are not there."""
    yield "a text of 4 GB", (program(b"X\xff\xff\xff\xffa"), "expected 4294967295 bytes")
    yield "a text of 2**63", (program(b"\x8d" + b"\xff" * 8), "cut off or damaged")
    yield "a number of 2 GB", (program(b"\x8b\xff\xff\xff\x7f"), "cut off or damaged")
    yield "a negative length", (program(b"\x8b\xff\xff\xff\xff"), "cut off or damaged")
    yield "a long number", (program(b"\x8b" + (10**6).to_bytes(4, "little") + b"\x01" * 10**6), "LONG4")
    yield "a number of digits", (program(b"L" + b"9" * 10**6 + b"L\n"), "damaged")


def structures() -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Structures of a few hundred bytes that no program walks through, compares or prints to the end."""
    doubled = b"Kx" + b"q\0h\0\x86" * 60
    lists = NONE
    for place in range(60):
        memo = bytes([place])
        lists = LIST + MARK + lists + b"q" + memo + b"h" + memo + b"e"
    yield "lists of lists", (program(lists), "more than 1000000 values")
    yield "pairs of pairs", (program(doubled), "more than 1000000 values")
    yield "pairs as a key", (program(DICT + doubled + b"Ns"), "neither texts nor numbers")
    yield (
        "pairs in a set",
        (
            program(call("builtins.set", LIST + doubled + b"a")),
            "unusual arguments",
        ),
    )
    yield "pairs that are called", (program(doubled + b")R"), "calls what is no function")
    yield (
        "pairs as a shape",
        (
            program(call("torch.Size", doubled)),
            "unusual arguments",
        ),
    )
    yield "a list that holds itself", (program(LIST + b"q\0h\0a"), "holds itself")
    yield "a dictionary that holds itself", (program(DICT + b"q\0" + text("a") + b"h\0s"), "holds itself")
    yield "deep lists", (START + LIST * 100_000 + b"a" * 99_999 + STOP, "more than 64 levels")
    chain = b"".join(LIST * 50 + (b"h\0" if n else NONE) + b"a" * 50 + b"q\0a" for n in range(9))
    yield "a chain of deep lists", (program(LIST + chain), "more than 64 levels")
    hooked = tensor(hooks=ORDERED + b"q\0")
    yield (
        "hooks that come later",
        (
            program(LIST + hooked + b"ah\0" + text("x") + NONE + b"sa"),
            "has hooks",
        ),
    )
    yield "a function as a value", (program(dictionary(a=name("torch.Size"))), "in the place of data")
    yield "a class as a value", (program(dictionary(a=name(CALLBACK))), "in the place of data")
    yield "a storage as a value", (program(dictionary(a=storage())), "in the place of data")
    yield "a text of Python 2", (program(DICT + b"U\2\xc3\xa9Ns"), "not ASCII")
    yield (
        "two states of a dictionary",
        (
            program(ORDERED + dictionary(_metadata=NONE) + b"b" + DICT + b"b"),
            "in an unusual way",
        ),
    )
    yield "deep pairs", (START + NONE + b"\x85" * 100_000 + STOP, "more than 64 levels")


def data() -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Tensors and storages that lie."""
    for title, held, message in (
        ("a storage outside", storage("../../etc/passwd"), "are missing"),
        ("an absolute storage", storage("/etc/passwd"), "are missing"),
        ("a storage too large", storage(count=7), "claims 7 numbers"),
        ("a storage of 4 TB", storage(count=10**12), "claims 1000000000000 numbers"),
        ("a storage of 2**2000", storage(count=2**2000), "claims impossibly many numbers"),
        ("a negative storage", storage(count=-1), "in an unusual way"),
        ("a storage of doubles", storage(cls="torch.DoubleStorage"), "claims 6 numbers"),
        ("a storage of dictionaries", storage(cls="collections.OrderedDict"), "of the class"),
        ("another persistent id", several(text("module"), NONE) + b"Q", "in an unusual way"),
        ("a text as persistent id", text("../../etc/passwd") + b"Q", "in an unusual way"),
        ("a storage twice", storage(count=1) + b"0" + storage(), "POP"),
    ):
        yield title, (program(dictionary(a=tensor(held=held))), message)
    yield (
        "a storage described twice",
        (
            program(dictionary(a=tensor(), b=tensor(held=storage(count=5)))),
            "described in two ways",
        ),
    )
    for title, lie, message in (
        ("a larger tensor", tensor((2, 4), (4, 1)), "claims more than its storage"),
        ("a tensor of 4 TB", tensor((10**6, 10**6), (10**6, 1)), "claims more than its storage"),
        ("a repeated tensor", tensor((10**6, 3), (0, 1)), "claims more than its storage"),
        ("a tensor that begins behind", tensor(offset=1), "claims more than its storage"),
        ("a negative offset", tensor(offset=-1), "in an unusual way"),
        ("a negative size", tensor((-2, -3)), "in an unusual way"),
        ("a negative stride", tensor(stride=(-3, 1)), "in an unusual way"),
        ("a shape that overflows", tensor((2**33, 2**31), (0, 0)), "claims more than its storage"),
        ("an impossible shape", tensor((2**2000, 0), (0, 0)), "impossible shape"),
        ("many dimensions", tensor((1,) * 100, (1,) * 100), "in an unusual way"),
        ("a stride too few", tensor(stride=(3,)), "in an unusual way"),
        ("hooks", tensor(hooks=dictionary(a=NONE)), "in an unusual way"),
        ("the conjugate", tensor(more=(dictionary(conj=TRUE),)), "in an unusual way"),
        ("a complex tensor", tensor(held=storage(cls="torch.ComplexFloatStorage")), "ComplexFloatStorage"),
        ("a storage that is a number", tensor(held=integer(0)), "in an unusual way"),
        (
            "a parameter of a parameter's list",
            call("torch._utils._rebuild_parameter", LIST, FALSE, ORDERED),
            "unusual arguments",
        ),
        (
            "gradients of integers",
            tensor(held=storage(cls="torch.IntStorage"), grad=TRUE),
            "only Tensors of floating point",
        ),
    ):
        yield title, (program(dictionary(a=lie)), message)
