"""Pickles that try to run something, or take steps that torch.save never takes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attacks.assembling import (
    DICT,
    GOOD,
    LIST,
    MARK,
    NONE,
    START,
    STOP,
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

CALLBACK = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
ORDERED = name("collections.OrderedDict") + b")R"


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
        program(ORDERED + dictionary(items=name("os.system"), __reduce__=name("os.system")) + b"b"),
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
        f"{CALLBACK}.__init__",
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
    yield "calls a class that is only a key", (program(call(CALLBACK)), "unusual arguments")
    yield "makes an object of it", (program(name(CALLBACK) + b")\x81"), "no TorchScript module")
    yield "gives it a state", (program(name(CALLBACK) + DICT + b"b"), "has no state")
    yield "calls a text", (program(text("x") + b")R"), "calls what is no function")
    yield "state over methods", (program(ORDERED + dictionary(items=NONE) + b"b"), "in an unusual way")
    yield "state of a class", (program(ORDERED + dictionary(__class__=NONE) + b"b"), "in an unusual way")
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


def all_cases(canary: str) -> Cases:
    """Every attack of this module."""
    return {
        **running(canary),
        **dict(foreign()),
        **dict(steps()),
    }
