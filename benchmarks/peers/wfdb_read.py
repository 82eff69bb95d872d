"""Reads WFDB records with wfdb-python, the peer of Systole's readers; systole bench data starts it and asks.

--records FILE names one record a line, without extension. The first line printed is JSON with the peer's name. Then
each line of standard input is a question, answered by one line:

  check   zlib.crc32 of all samples as int16, [records, samples, leads], leads in the standard order
  time    {"seconds", "cpu_seconds"} for reading all records, as stored (digital) samples

One process, one thread.
"""

import argparse
import json
import os
import sys
import time
import zlib

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"  # read when NumPy is imported

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


def read(wfdb, record):
    return wfdb.rdrecord(record, physical=False, return_res=16)


def checksum(wfdb, records):
    crc = 0
    for name in records:
        record = read(wfdb, name)
        names = [lead.upper() for lead in record.sig_name]
        samples = record.d_signal[:, [names.index(lead) for lead in LEADS]]
        crc = zlib.crc32(samples.astype("<i2").tobytes(), crc)
    return crc


def times(wfdb, records):
    start, cpu_start = time.perf_counter(), time.process_time()
    for name in records:
        read(wfdb, name)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", required=True, help="file that names one record a line")
    options = parser.parse_args()
    try:
        import wfdb
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    with open(options.records) as file:
        records = file.read().splitlines()
    print(json.dumps({"name": f"wfdb-python {wfdb.__version__}"}), flush=True)
    answers = {"check": checksum, "time": times}
    for question in sys.stdin:
        print(answers[question.strip()](wfdb, records), flush=True)


if __name__ == "__main__":
    main()
