#!/usr/bin/env python3
"""Reads documents with the child process of AEGIS and with Python's usual libraries, and prints ratios.

    tests/bench/extract/run.py CHILD [SCRATCH [FOLDER…]]

CHILD is a program that reads as `aegis __extract` does ("aegis" itself gets that argument added). SCRATCH, a folder,
is made and kept: a virtual environment with the peers, the documents of their own source distributions, large
documents made here. Documents in every FOLDER are read as well. Needs pip, and pdftotext (poppler-utils) for the reference of PDF text.
"""
import json, re, subprocess, sys, tarfile, tempfile, unicodedata
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = {".pdf": "PyPDF2", ".docx": "python-docx", ".xlsx": "openpyxl", ".pptx": "python-pptx"}
LIMITS = {"attempt": "first", "memory": 1 << 30, "cpu_seconds": 60, "text": 80 << 20}

# A process of its own for every measurement: what a child is charged for memory begins at its parent's.
MEASURE = r"""
import os, resource, subprocess, sys
output, head, path, *command = sys.argv[1:]
source = open(path, 'rb') if path else None
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
try:
    child.stdin.write(head.encode())
    while source and (piece := source.read(1 << 16)): child.stdin.write(piece)
    child.stdin.close()
except BrokenPipeError: pass
with open(output, 'wb') as sink:
    while piece := child.stdout.read(1 << 16): sink.write(piece)
_, status, used = os.wait4(child.pid, 0)
print(status, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""

PEER = r"""
import json, sys
kind, output, *paths = sys.argv[1:]
def pdf(path):
    from PyPDF2 import PdfReader
    return '\n'.join(page.extract_text() for page in PdfReader(path).pages)
def docx(path):
    from docx import Document
    document = Document(path)
    lines = [paragraph.text for paragraph in document.paragraphs]
    lines += [cell.text for table in document.tables for row in table.rows for cell in row.cells]
    return '\n'.join(lines)
def xlsx(path):
    from openpyxl import load_workbook
    book = load_workbook(path, read_only=True, data_only=True)
    rows = (row for sheet in book.worksheets for row in sheet.iter_rows(values_only=True))
    return '\n'.join(' '.join(str(value) for value in row if value is not None) for row in rows)
def pptx(path):
    from pptx import Presentation
    def shapes(all):
        for shape in all:
            if shape.shape_type == 6: yield from shapes(shape.shapes)
            else: yield shape
    lines = []
    for slide in Presentation(path).slides:
        for shape in shapes(slide.shapes):
            if shape.has_text_frame: lines.append(shape.text_frame.text)
            if getattr(shape, 'has_table', False) and shape.has_table:
                lines += [cell.text for row in shape.table.rows for cell in row.cells]
        if slide.has_notes_slide: lines.append(slide.notes_slide.notes_text_frame.text if slide.notes_slide.notes_text_frame else '')
    return '\n'.join(lines)
texts = {}
for path in paths:
    try: texts[path] = {'.pdf': pdf, '.docx': docx, '.xlsx': xlsx, '.pptx': pptx}[kind](path)
    except BaseException as error: texts[path] = None
json.dump(texts, open(output, 'w'))
"""

LARGE = r"""
import datetime, sys
from pathlib import Path
folder = Path(sys.argv[1])
words = 'the quarterly report of the committee says that leave and travel costs were higher than planned'.split()
def sentence(n): return ' '.join(words[(n * 7 + k * (n % 5 + 1)) % len(words)] for k in range(24)) + f' {n}.'
from docx import Document
document = Document()
for n in range(6000):
    if n % 40 == 0: document.add_heading(f'Chapter {n // 40}', 1)
    document.add_paragraph(sentence(n))
table = document.add_table(rows=0, cols=4)
for n in range(400):
    for cell, text in zip(table.add_row().cells, (f'item {n}', f'{n * 3}', sentence(n)[:30], 'yes')): cell.text = text
document.save(folder / 'large.docx')
from pptx import Presentation
deck = Presentation()
for n in range(400):
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = f'Topic {n}'
    slide.placeholders[1].text = '\n'.join(sentence(n * 9 + k) for k in range(8))
    slide.notes_slide.notes_text_frame.text = sentence(n)
deck.save(folder / 'large.pptx')
from openpyxl import Workbook
book = Workbook(write_only=True)
sheet = book.create_sheet('Sales')
sheet.append(['Region', 'Customer', 'Day', 'Pieces', 'Price', 'Remark'])
for n in range(100_000):
    sheet.append([words[n % 9], f'Customer {n % 977}', datetime.date(2020, 1, 1) + datetime.timedelta(n % 1500), n % 100, n / 7, sentence(n)[:40]])
book.save(folder / 'large.xlsx')
objects, pages = [], 500
objects.append('<</Type/Catalog/Pages 2 0 R>>')
objects.append('<</Type/Pages/Kids[%s]/Count %d>>' % (' '.join(f'{4 + 2 * p} 0 R' for p in range(pages)), pages))
objects.append('<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>')
for p in range(pages):
    lines = ''.join(f'({sentence(p * 45 + k)[:90]}) Tj T* ' for k in range(45))
    content = f'BT /F 10 Tf 14 TL 60 740 Td {lines}ET'
    objects.append(f'<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {5 + 2 * p} 0 R/Resources<</Font<</F 3 0 R>>>>>>')
    objects.append(f'<</Length {len(content)}>>stream\n{content}\nendstream')
out, places = b'%PDF-1.7\n', []
for n, body in enumerate(objects, 1):
    places.append(len(out)); out += f'{n} 0 obj\n{body}\nendobj\n'.encode()
start = len(out)
out += f'xref\n0 {len(objects) + 1}\n0000000000 65535 f \n'.encode() + b''.join(b'%010d 00000 n \n' % place for place in places)
out += f'trailer\n<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n'.encode()
(folder / 'large.pdf').write_bytes(out)
"""


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def prepare(scratch):
    """The peers' environment, their documents, and large ones."""
    python = scratch / "venv/bin/python"
    if not python.exists():
        run(sys.executable, "-m", "venv", scratch / "venv")
        run(python, "-m", "pip", "install", "-q", "setuptools", "wheel", "flit_core", "-r", HERE / "requirements.txt")
    sources, corpus = scratch / "sources", scratch / "corpus"
    if not sources.exists():
        run(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
            "-d", sources, "-r", HERE / "requirements.txt")
    if not corpus.exists():
        corpus.mkdir()
        for source in sorted(sources.glob("*.tar.gz")):
            with tarfile.open(source) as archive:
                for member in archive:
                    if member.isfile() and Path(member.name).suffix.lower() in PEERS:
                        name = re.sub(r"[^A-Za-z0-9.]+", "-", member.name)
                        (corpus / name).write_bytes(archive.extractfile(member).read())
    large = scratch / "large"
    if not (large / "large.pdf").exists():
        large.mkdir(exist_ok=True)
        run(python, "-c", LARGE, large)
    return python, corpus, large


def measured(output, head, path, command):
    said = run(sys.executable, "-S", "-c", MEASURE, output, head, path, *command, stdout=subprocess.PIPE).stdout
    status, cpu, memory = said.split()
    return int(status), float(cpu), float(memory)


def aegis(command, paths, scratch):
    """Every file by a child of its own, as in the appliance."""
    texts, seconds, most, crashed = {}, 0.0, 0.0, 0
    for path in paths:
        head = json.dumps({"file_name": path.name, **LIMITS}) + "\n"
        output = scratch / "output"
        status, cpu, memory = measured(output, head, path, command)
        seconds, most = seconds + cpu, max(most, memory)
        crashed += status != 0
        lines = [json.loads(line) for line in output.read_bytes().splitlines()]
        done = bool(lines) and "done" in lines[-1]
        blocks = [line["block"]["text"] for line in lines if "block" in line]
        texts[str(path)] = "\n".join(blocks) if done else None
    return texts, seconds, most, crashed


def peer(python, kind, paths, scratch):
    """All files in one process, so that starting Python counts once."""
    output = scratch / "peer.json"
    _, cpu, memory = measured(scratch / "output", "", "", [python, "-c", PEER, kind, output, *map(str, paths)])
    return json.loads(output.read_text()), cpu, memory


def words(text, letters):
    text = unicodedata.normalize("NFKC", text or "").lower()
    found = re.findall(r"\w+", text)
    return Counter(word for word in found if not letters or re.search(r"[^\W\d_]", word))


def share(found, reference):
    return sum((found & reference).values()), sum(reference.values())


def compare(title, kind, paths, command, python, scratch):
    ours, cpu, memory, crashed = aegis(command, paths, scratch)
    theirs, peer_cpu, peer_memory = peer(python, kind, paths, scratch)
    reference = theirs
    if kind == ".pdf":
        reference = {str(path): subprocess.run(["pdftotext", "-q", "-enc", "UTF-8", path, "-"], capture_output=True)
                     .stdout.decode(errors="replace") for path in paths}
    # Numbers and dates of sheets look different to a person than to openpyxl: words are compared.
    letters = kind == ".xlsx"
    def quality(texts):
        hit = total = own_hit = own_total = 0
        for path in map(str, paths):
            known, found = words(reference.get(path), letters), words(texts.get(path), letters)
            if not known: continue
            one, all_ = share(found, known)
            hit, total = hit + one, total + all_
            own_hit, own_total = own_hit + len(set(found) & set(known)), own_total + len(set(found))
        return (hit / total if total else 1, own_hit / own_total if own_total else 1)
    recall, precision = quality(ours)
    line = f"{title:<24}{len(paths):>5} files  CPU {cpu:7.2f} s : {peer_cpu:7.2f} s = 1/{peer_cpu / max(cpu, 1e-9):<6.1f}" \
           f" memory {memory:6.1f} : {peer_memory:6.1f} MiB = {memory / peer_memory:4.2f}" \
           f"  recall {recall:.3f} precision {precision:.3f}"
    if kind == ".pdf":
        line += "  (PyPDF2: recall %.3f precision %.3f)" % quality(theirs)
    read = sum(text is not None for text in ours.values())
    print(f"{line}  read {read} : {sum(text is not None for text in theirs.values())}, crashed {crashed}", flush=True)


def main():
    child = Path(sys.argv[1]).resolve()
    scratch = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="extract-bench-")).resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    python, corpus, large = prepare(scratch)
    folders = [corpus, *map(Path, sys.argv[3:])]
    command = [str(child), "__extract"] if child.name == "aegis" else [str(child)]
    for kind, name in PEERS.items():
        paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() == kind)
        if paths:
            compare(f"{kind} against {name}", kind, paths, command, python, scratch)
        compare(f"large{kind}", kind, [large / f"large{kind}"], command, python, scratch)


main()
