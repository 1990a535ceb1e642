"""Pickles that try to run something, or to use up the machine. Each stands with what its refusal says."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attacks.assembling import (
    DICT,
    FALSE,
    GOOD,
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

#: The attack, and a part of the message.
Cases = dict[str, tuple[bytes, str]]

_CALLBACK = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
_ORDERED = name("collections.OrderedDict") + b")R"


def running(canary: str) -> Cases:
    """Pickles that would make the file `canary`, if anything in them ran."""
    command, code = text(f"touch {canary}"), text(f"open({canary!r}, 'w')")
    calls = {
        "os.system": (command,),
        "posix.system": (command,),
        "nt.system": (command,),
        "subprocess.Popen": (text("touch") + LIST,),
        "subprocess.check_output": (LIST + MARK + text("touch") + text(canary) + b"e",),
        "builtins.eval": (code,),
        "builtins.exec": (code,),
        "__builtin__.eval": (code,),
        "builtins.open": (text(canary), text("w")),
        "pathlib.Path.touch": (text(canary),),
        "runpy._run_code": (code, DICT),
        "timeit.timeit": (code,),
        "pdb.run": (code,),
        "torch.hub.load": (text("."), text("x")),
        "torch.load": (text(canary),),
        "torch.serialization.load": (text(canary),),
        "torch.jit.load": (text(canary),),
        "torch.save": (NONE, text(canary)),
        "torch.package.PackageImporter": (text(canary),),
        "torch._inductor.codecache.compile_file": (text(canary),),
        "numpy.load": (text(canary),),
        "numpy.save": (text(canary), integer(1)),
        "numpy.testing._private.utils.runstring": (code, DICT),
        "pickle.loads": (text(canary),),
        "logging.FileHandler": (text(canary),),
        "shutil.copyfile": (text("/etc/hostname"), text(canary)),
    }
    found = {full: (program(call(full, *arguments)), full) for full, arguments in calls.items()}
    getter = call("builtins.getattr", call("importlib.import_module", text("os")), text("system"))
    found["a chain of getattr"] = (
        program(getter + several(command) + b"R"),
        r"builtins\.getattr, importlib\.import_module",
    )
    found["partial"] = (program(call("functools.partial", name("os.system"), command)), "functools.partial")
    found["hidden behind good tensors"] = (
        program(dictionary(a=tensor(), b=call("os.system", command))),
        "os.system",
    )
    found["after an error"] = (program(b"\x82\x01" + call("os.system", command)), "os.system")
    found["INST"] = (program(MARK + command + b"ios\nsystem\n"), "os.system")
    found["OBJ"] = (program(MARK + name("os.system") + command + b"o"), "os.system")
    found["STACK_GLOBAL"] = (
        program(text("os") + text("system") + b"\x93" + several(command) + b"R"),
        "STACK_GLOBAL",
    )
    found["of protocol 4"] = (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93" + several(command) + b"R.",
        "protocol 2",
    )
    found["of protocol 0"] = (f"cos\nsystem\n(Vtouch {canary}\ntR.".encode(), "os.system")
    found["a state with a method"] = (
        program(_ORDERED + dictionary(items=name("os.system"), __reduce__=name("os.system")) + b"b"),
        "os.system",
    )
    found["a TorchScript class in no TorchScript"] = (
        program(name("__torch__.Evil") + b")\x81"),
        "__torch__.Evil",
    )
    found["two pickles"] = (GOOD + program(call("os.system", command)), "something follows its pickle")
    return found


def foreign() -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Names that torch.load would allow, or that resemble allowed ones."""
    for full in (
        "builtins.bytearray",
        "collections.Counter",
        "torch.Tensor",
        "torch.FloatTensor",
        "torch.sparse.FloatTensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_nested_tensor",
        "torch._utils._rebuild_wrapper_subclass",
        "torch._utils._rebuild_meta_tensor_no_storage",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._tensor._rebuild_from_type_v2",
        "torch.ComplexFloatStorage",
        "torch.QInt8Storage",
        "torch.storage.UntypedStorage",
        "torch.cuda.FloatStorage",
        "pytorch_lightning.callbacks.model_checkpoint.Other",
        "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
        f"{_CALLBACK}.__init__",
        "collections.OrderedDict.fromkeys",
        "numpy.core.multiarray.fromfile",
        "torch._utils._rebuild_tensor_v2.__globals__",
    ):
        yield f"names {full}", (program(call(full, integer(10**12))), full.replace(".", r"\."))
    yield "a name with a space", (program(b"ccollections OrderedDict\n\n)R"), "names what does not belong")
    yield (
        "a name with escapes",
        (
            program(b"ctorch\\x2e_utils\n_rebuild_tensor_v2\n)R"),
            r"torch\\\\x2e_utils",
        ),
    )
    yield "a name for a terminal", (program(b"c\x1b[2J\nx\n"), r"\\x1b\[2J")


def steps() -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Steps that torch.save never writes, or that do not fit."""
    for title, value in {
        "EXT1": b"\x82\x01",
        "EXT4": b"\x84\x01\0\0\0",
        "NEWOBJ_EX": name("collections.OrderedDict") + b")" + DICT + b"\x92",
        "FRAME": b"\x95\x01\0\0\0\0\0\0\0N",
        "BINBYTES": b"B\x01\0\0\0a",
        "BYTEARRAY8": b"\x96\x01\0\0\0\0\0\0\0a",
        "NEXT_BUFFER": b"\x97",
        "PERSID": b"P../../etc/passwd\n",
        "INT": b"I1\n",
        "DUP": b"N2",
        "POP": b"NN0",
        "MEMOIZE": b"N\x94",
    }.items():
        yield f"step {title}", (program(value), title)
    yield "PROTO again", (program(START + NONE), "protocol 2")
    yield "no PROTO", (NONE + STOP, "protocol 2")
    yield "an empty pickle", (b"", "is cut off or damaged|unfinished")
    yield "takes from an empty stack", (program(b"R"), "takes what it has not made")
    yield "takes an unknown memo", (program(b"j\xff\xff\xff\xff"), "takes what it has not made")
    yield "no end", (START + NONE, "cut off or damaged")
    yield "an open mark", (program(MARK + NONE), "unfinished")
    yield "calls a class that is only a key", (program(call(_CALLBACK)), "unusual arguments")
    yield "makes an object of it", (program(name(_CALLBACK) + b")\x81"), "no TorchScript module")
    yield "gives it a state", (program(name(_CALLBACK) + DICT + b"b"), "has no state")
    yield "calls a text", (program(text("x") + b")R"), "calls what is no function")
    yield "state over methods", (program(_ORDERED + dictionary(items=NONE) + b"b"), "in an unusual way")
    yield "state of a class", (program(_ORDERED + dictionary(__class__=NONE) + b"b"), "in an unusual way")
    yield "state of a tensor", (program(tensor() + several(storage()) + b"b"), "has no state")
    yield (
        "a slow codec",
        (program(call("_codecs.encode", text("a" * 9**5), text("idna"))), "unusual arguments"),
    )
    yield "many steps", (START + b"N0" * 250_000 + NONE + STOP, "POP")
    yield "more steps", (START + LIST + b"Na" * 250_000 + STOP, "more than 400000 steps")
    yield (
        "many classes",
        (
            program(b"".join(b"c__torch__\nA%d\n" % number for number in range(3000))),
            "more than 2000|names what does not belong",
        ),
    )


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
    hooked = tensor(hooks=_ORDERED + b"q\0")
    yield (
        "hooks that come later",
        (
            program(LIST + hooked + b"ah\0" + text("x") + NONE + b"sa"),
            "has hooks",
        ),
    )
    yield "a function as a value", (program(dictionary(a=name("torch.Size"))), "in the place of data")
    yield "a class as a value", (program(dictionary(a=name(_CALLBACK))), "in the place of data")
    yield "a storage as a value", (program(dictionary(a=storage())), "in the place of data")
    yield "a text of Python 2", (program(DICT + b"U\2\xc3\xa9Ns"), "not ASCII")
    yield (
        "two states of a dictionary",
        (
            program(_ORDERED + dictionary(_metadata=NONE) + b"b" + DICT + b"b"),
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
            call("torch._utils._rebuild_parameter", LIST, FALSE, _ORDERED),
            "unusual arguments",
        ),
        (
            "gradients of integers",
            tensor(held=storage(cls="torch.IntStorage"), grad=TRUE),
            "only Tensors of floating point",
        ),
    ):
        yield title, (program(dictionary(a=lie)), message)


def all_cases(canary: str) -> Cases:
    """Every attack of this module."""
    return {
        **running(canary),
        **dict(foreign()),
        **dict(steps()),
        **dict(claims()),
        **dict(structures()),
        **dict(data()),
    }
