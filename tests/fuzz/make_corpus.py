#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, corpus/TARGET/seed_*: small inputs of every kind that a parser takes.

All are made here by hand; files named finding_* are what fuzzing found, and stay. Run: tests/fuzz/make_corpus.py
"""
import json
import pathlib
import struct
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"
GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "checkpoints"


def seed(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed_{name}").write_bytes(content if isinstance(content, bytes) else content.encode())


LEADS = ["I", "II", "III", "aVR", "AVL", "avf", "V1", "V2", "V3", "V4", "V5", "V6"]

# --- WFDB
ptbxl = "r 12 100 4\n" + "".join(f"r.dat 16 1000.0(0)/mV 16 0 1 4 0 {lead}\n" for lead in LEADS)
full = ("# before\r\n\r\nr 2 360.5/1000(-5.5) 8 12:30:00 25/12/1999\r\n"
        "r.dat 212x2:3+2 1.5e+3(-7)/uV 14 1024 995 -22131 512 lead one \r\n\r\nr.dat 212\r\n#<age>: 69  \r\n")
seed("wfdb_header", "ptbxl", ptbxl)
seed("wfdb_header", "all_fields", full)
seed("wfdb_header", "challenge", "E1.mat 1 500 5000 05-May-2020 09:49:17\nE1.mat 16x1+24 1000.0(0)/mv 16 0 1 2 0 aVR\n#Age: 7\n")
seed("wfdb_header", "segments", "r/3 2 250 300\nr_layout 0\n~ 100\nsub/r_1 200\n# end\n")
seed("wfdb_header", "elsewhere", "r 1 100 4\n../../x 16 200\n")
seed("wfdb_header", "absurd", "r 1 100 1099511627776\nr.dat 16+9223372036854775807 1e-300(-2147483648)/mV\n")

FORMATS = [8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 0]
for i, wfdb_format in enumerate(FORMATS):
    seed("wfdb_format", str(wfdb_format), bytes([i, i % 3, i % 2, i % 4]) + struct.pack("<i", 995) + bytes(range(5, 250, 11)))


def record(header, segment="", samples=b""):
    return b"%%\n".join([header.encode(), segment.encode(), samples])


twelve = b"".join(struct.pack("<h", 10 * i % 97 - 40) for i in range(48))
seed("wfdb_record", "ptbxl", record("r 12 100 4\n" + "".join(f"r.dat 16 1000(0)/mV 16 0 0\n" for _ in LEADS), "", twelve))
for wfdb_format in FORMATS:
    seed("wfdb_record", f"format_{wfdb_format}", record(f"r 2 100\nr.dat {wfdb_format}x2:1+3 100\nr.dat {wfdb_format} 2/V\n", "", bytes(range(60))))
seed("wfdb_record", "segments", record("r/3 1 100 12\ns 4\n~ 4\ns 4\n", "s 1 100 4\nr.dat 16 200(5)/mV 12 0 0 0 0 II\n", twelve[:8]))
seed("wfdb_record", "layout", record("r/4 2 100 12\ns 0\n~ 4\nr 4\ns 4\n", "s 2 100 0\n~ 0 200 12 0 0 0 0 II\n~ 0 200 12 0 0 0 0 V\n", b""))
seed("wfdb_record", "gap", record("r/2 1 100 2147483648\ns 4\n~ 2147483644\n", "s 1 100 4\nr.dat 16\n", twelve[:8]))
seed("wfdb_record", "nothing", record("r 1 100 2147483648\n~ 0 200\n"))
seed("wfdb_record", "gain", record("r/2 1 100 8\ns 4\ns 4\n", "s 1 100 4\nr.dat 16 1e-9(2147483647)/mV\n", twelve[:8]))
seed("wfdb_record", "itself", record("r/1 1 100 4\nr 4\n"))


def word(code, data):
    return struct.pack("<H", code << 10 | data)


seed("wfdb_annotations", "beats", word(1, 18) + word(5, 300) + word(28, 5) + word(63, 5) + b"(AFIB\0" + word(0, 0))
seed("wfdb_annotations", "long_time", word(59, 0) + struct.pack("<HH", 1, 2) + word(1, 0) + word(60, 3) + word(61, 1023) + word(62, 2) + word(0, 0))
seed("wfdb_annotations", "broken_off", word(1, 18) + word(63, 1023) + b"(N")

# --- tables
seed("csv", "quoted", "\ufeffa,b,\"c, d\"\r\n1,\"two \"\"2\"\"\nlines\",3\r\n\r\n, 18792.0,-1e3\r\n")
seed("csv", "unquoted", "id,fold\n1,2\n3,4")
seed("csv", "misplaced", 'a,b\n1,"2" x\n')
seed("csv", "short_row", "a,b\n1\n")
seed("scp_codes", "two", "{'NORM': 100.0, 'SR': 0.0}")
seed("scp_codes", "blank", ' { "IMI" :35 } ')
seed("scp_codes", "empty", "{}")
seed("scp_codes", "range", "{'NORM': 1e9}")
database = ("ecg_id,patient_id,scp_codes,strat_fold,filename_lr,filename_hr,lvef,potassium\n"
            "1,15709.0,\"{'NORM': 80.0, 'SR': 0.0}\",3,records100/00000/00001_lr,records500/00000/00001_hr,55,4.1\n"
            "2,13243.0,\"{'IMI': 35.0}\",10,records100/00000/00002_lr,records500/00000/00002_hr,,5.6\n")
statements = (",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\n"
              "NORM,normal ECG,1.0,,,NORM,NORM\nIMI,inferior,1.0,,,MI,IMI\nSR,sinus rhythm,,,1.0,,\n")
for labels in range(8):
    seed("ptbxl", f"labels_{labels}", bytes([labels]) + f"{database}%%\n{statements}".encode())
seed("ptbxl", "elsewhere", b"\7" + database.replace("records100/00000/00001_lr", "../../etc/passwd").encode())
seed("label_table", "folds", "record,patient,fold,weak_heart\na/1,P17,1,1\na/2,P17,1,\nb,P18,10,0.0\n")
seed("label_table", "numbers", "patient,record,x,y\n7,1,1,0\n8,2,0,1.0\n")
seed("label_table", "elsewhere", "record,patient\n/etc/passwd,1\n")

# --- JSON
seed("recipe", "several", json.dumps({"name": "mine", "description": "é", "augmentations": {
    "crop": {"seconds": 2.5, "disjoint": "yes"}, "gain": {"p": 0.5, "factor": [0.8, 1.2]}, "mains": {"p": 1, "frequency_hz": 50},
    "temporal_dropout": {"p": 0.3, "share": 0.1, "segments": [1, 3]}, "vcg": {"p": 1, "inverse": "kors"}}}))
seed("recipe", "none", '{"augmentations": {}}')
seed("recipe", "twice", '{"augmentations": {"gain": {"p": 0.5, "p": 1}}}')
seed("recipe", "deep", '{"augmentations": {"gain": ' + "[" * 300 + "]" * 300 + "}}")
seed("normalization", "three", json.dumps({"leads": ["I", "II", "V1"], "mean": [0, 0.5, -1e-3], "std": [1, 0.2, 3],
                                           "unit": "mV", "length": 1000, "sampling_rate_hz": 100.0}))
seed("normalization", "missing", '{"leads": ["I"], "mean": [0], "std": []}')


def safetensors(header, data=b""):
    text = json.dumps(header) if isinstance(header, dict) else header
    return struct.pack("<Q", len(text)) + text.encode() + data


seed("safetensors", "two", safetensors({
    "__metadata__": {"format": "pt", "systole_sections": '["encoder"]', "systole": '{"leads": 12}'},
    "encoder.a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
    "encoder.b": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]}}, bytes(range(10))))
for i, (dtype, size) in enumerate([("F64", 8), ("F16", 2), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1)]):
    seed("safetensors", dtype, safetensors({"model.x": {"dtype": dtype, "shape": [1, 2], "data_offsets": [0, 2 * size]}}, bytes(range(2 * size))))
seed("safetensors", "huge", safetensors({"a": {"dtype": "F32", "shape": [1099511627776, 1099511627776], "data_offsets": [0, 0]}}))
seed("safetensors", "twice", safetensors('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"))

# --- torch.save: the small ones among those that PyTorch and make_checkpoints.py made
for name in ["plain_zip", "types_zip", "stride_of_one", "hostile_expansion", "hostile_system", "hostile_compressed"]:
    seed("pytorch_zip", name, (GOLDEN / f"{name}.pt").read_bytes())
for name in ["plain_stream", "types_stream", "sections_stream", "hostile_stream"]:
    seed("pytorch_stream", name, (GOLDEN / f"{name}.pt").read_bytes())


# --- the packed store, docs/data.md
def pack(metadata, R, C, L, tables, samples):
    text = json.dumps(metadata).encode()
    head = text + bytes(-(64 + len(text)) % 8) + tables
    begin = (64 + len(head) + 4095) // 4096 * 4096
    head += bytes(begin - 64 - len(head))
    header = b"\x89ECGS\r\n\x1a" + struct.pack("<IIQQQQQI", 1, C, R, L, len(text), begin, begin + len(samples), zlib.crc32(head))
    return header + struct.pack("<I", zlib.crc32(header)) + head + samples


samples = [struct.pack("<6h", *range(-3, 3)), struct.pack("<6h", *range(20, 26))]
tables = (struct.pack("<2q", 7, 8) + struct.pack("<2q", 1, 1) + struct.pack("<4f", .001, .002, 0, 1) + struct.pack("<4f", 0, 0, 1, -1)
          + struct.pack("<2I", *map(zlib.crc32, samples)) + bytes([1, 10]) + bytes([1, 0]) + bytes([1, 0, 0, 0]))
description = {"name": "two", "sampling_rate_hz": 100, "unit": "mV", "leads": ["I", "II"], "has_ecg_ids": False,
               "label_sets": [{"name": "table", "classes": ["a", "b"]}], "records": ["r0", "r1"]}
seed("pack", "two", pack(description, 2, 2, 3, tables, b"".join(samples)))
