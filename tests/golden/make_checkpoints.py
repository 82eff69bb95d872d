#!/usr/bin/env python3
"""Writes tests/golden/checkpoints: files of torch.save in both of its forms, and hostile ones that no reader may trust.

    python3 tests/golden/make_checkpoints.py

With PyTorch 1.13; under PyTorch 2, with the package safetensors, it writes only torch2_*.pt and encoder.safetensors.

Value i of every tensor is (i - 3) / 4, exact in all floating types, or i - 3 in whole ones;
tests/engine/tensor_file_test.cpp expects that.
"""

import collections
import os
import pathlib
import pickle
import struct
import zipfile

import torch

FOLDER = pathlib.Path(__file__).parent / "checkpoints"


def numbers(*shape, dtype=torch.float32):
    count = torch.Size(shape).numel()
    values = torch.arange(count, dtype=torch.float64) - 3
    return (values / 4 if dtype.is_floating_point else values).to(dtype).reshape(shape)


def module():
    network = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 5, bias=False), torch.nn.BatchNorm1d(3))
    state = network.state_dict()  # an OrderedDict with the attribute _metadata
    for key, value in state.items():
        value.copy_(numbers(*value.shape, dtype=value.dtype))
    return state


def sections():
    return {"encoder": module(), "epoch": 3, "score": 0.25, "best": None,
            "config": {"leads": ["I", "II"], "rate": (100, True)},
            "head": {"weight": numbers(2, 3), "size": torch.Size([2, 3])}}


def types():
    shared = numbers(12)
    return {"model": collections.OrderedDict(
        f64=numbers(2, 3, dtype=torch.float64), f32=numbers(2, 3), f16=numbers(2, 3, dtype=torch.float16),
        bf16=numbers(2, 3, dtype=torch.bfloat16), i64=numbers(6, dtype=torch.int64), i32=numbers(6, dtype=torch.int32),
        i16=numbers(6, dtype=torch.int16), i8=numbers(6, dtype=torch.int8), u8=torch.arange(6, dtype=torch.uint8),
        boolean=torch.tensor([True, False, True]), scalar=torch.tensor(7), empty=torch.zeros(0, 3),
        transposed=numbers(4, 3).t(), permuted=numbers(2, 3, 4).permute(2, 0, 1), every_second=numbers(4, 6)[1:, ::2],
        expanded=numbers(1, 3).expand(4, 3), whole=shared, part=shared[4:10].reshape(2, 3),
        parameter=torch.nn.Parameter(numbers(2, 2)))}


def save_both(name, content):
    torch.save(content, FOLDER / f"{name}_zip.pt")
    torch.save(content, FOLDER / f"{name}_stream.pt", _use_new_zipfile_serialization=False)


def zip_file(name, program, members=(("data/0", bytes(24)),), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(FOLDER / name, "w", compression) as archive:
        for member, content in (("data.pkl", program), *members, ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo("archive/" + member), content, compress_type=compression)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def tensor_program(offset="K\x00", shape="K\x02K\x03\x86", strides="K\x03K\x01\x86", count="K\x06"):
    """The pickle of {"model": {"weight": tensor}}, its numbers given as opcodes."""
    text = lambda t: "X" + struct.pack("<I", len(t)).decode("latin1") + t
    return ("\x80\x02}" + text("model") + "}" + text("weight") +
            "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
            text("0") + text("cpu") + count + "tQ" + offset + shape + strides +
            "\x89ccollections\nOrderedDict\n)RtRss.").encode("latin1")


def int64(value):
    return "\x8a\x08" + struct.pack("<q", value).decode("latin1")


def hostile():
    harmless_if_run = "echo executed"
    zip_file("hostile_system.pt", pickle.dumps({"model": Call(os.system, harmless_if_run)}, 2))
    zip_file("hostile_eval.pt", pickle.dumps({"model": Call(eval, "1 + 1")}, 2))
    zip_file("hostile_nested.pt", pickle.dumps({"epoch": 1, "x": [{"y": (1, [Call(os.system, harmless_if_run)])}]}, 2))
    zip_file("hostile_getattr.pt", b"\x80\x02ccollections\nOrderedDict.__init__\n)R.")
    zip_file("hostile_inst.pt", b"\x80\x02(X\x04\x00\x00\x00echoios\nsystem\n.")
    zip_file("hostile_newobj.pt", b"\x80\x02ccollections\nOrderedDict\n)\x81.")
    zip_file("hostile_protocol4.pt", pickle.dumps({"model": {}}, 4))
    zip_file("hostile_attribute.pt", b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.")
    zip_file("hostile_build_global.pt", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.")
    zip_file("hostile_offset.pt", tensor_program(offset="K\x01"))
    zip_file("hostile_offset_negative.pt", tensor_program(offset="J\xff\xff\xff\xff"))
    zip_file("hostile_stride.pt", tensor_program(strides="K\x04K\x01\x86"))
    zip_file("hostile_stride_negative.pt", tensor_program(strides="K\x03J\xff\xff\xff\xff\x86"))
    zip_file("hostile_overflow.pt", tensor_program(shape=int64(2**62) + int64(2**62) + "\x86"))
    zip_file("hostile_expansion.pt", tensor_program(shape=int64(2**40) + "K\x03\x86", strides="K\x00K\x01\x86"))
    zip_file("hostile_rank.pt", tensor_program(shape="(" + "K\x01" * 99 + "t", strides="(" + "K\x01" * 99 + "t"))
    zip_file("hostile_count.pt", tensor_program(count="K\x07"))
    zip_file("hostile_count_huge.pt", tensor_program(count=int64(2**62)))
    zip_file("hostile_no_storage.pt", tensor_program(), members=())
    zip_file("hostile_compressed.pt", tensor_program(), compression=zipfile.ZIP_DEFLATED)
    zip_file("hostile_big_endian.pt", tensor_program(), members=(("byteorder", b"big"), ("data/0", bytes(24))))
    zip_file("hostile_no_memo.pt", b"\x80\x02h\x05.")
    zip_file("hostile_no_mark.pt", b"\x80\x02t.")
    zip_file("hostile_empty_stack.pt", b"\x80\x02}(s.")
    zip_file("hostile_endless.pt", b"\x80\x02}")
    whole = (FOLDER / "sections_zip.pt").read_bytes()
    (FOLDER / "hostile_truncated_zip.pt").write_bytes(whole[:len(whole) // 2])
    whole = (FOLDER / "sections_stream.pt").read_bytes()
    (FOLDER / "hostile_truncated_stream.pt").write_bytes(whole[:-1])
    head = whole[:whole.index(b"\x80\x02}q\x00(X\x07\x00\x00\x00encoder")]
    (FOLDER / "hostile_stream.pt").write_bytes(head + pickle.dumps({"model": Call(os.system, harmless_if_run)}, 2))


def stride_of_one():
    """Harmless: the stride of a dimension of size 1 is never taken, so it may be any number."""
    zip_file("stride_of_one.pt", tensor_program(shape="K\x03K\x01\x86", strides="K\x02" + int64(2**63 - 1) + "\x86"),
             members=(("data/0", struct.pack("<6f", *range(6))),))


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    if int(torch.__version__.split(".")[0]) >= 2:
        torch.save(sections(), FOLDER / "torch2_sections.pt")
        torch.save(types(), FOLDER / "torch2_types.pt")
        from safetensors.torch import save_file
        encoder = {f"encoder.{key}": value for key, value in module().items()}
        save_file(encoder, FOLDER / "encoder.safetensors", {"format": "pt"})
        return
    save_both("sections", sections())
    save_both("types", types())
    save_both("plain", module())
    stride_of_one()
    hostile()


if __name__ == "__main__":
    main()
