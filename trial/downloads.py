"""A download is there as a whole or not at all, and what a killed one leaves is removed

    python -m trial.downloads --n 20

The four files of a data set and a text are fetched, from sources on this machine, into folders that
hold nothing or a part of them; the process is killed or interrupted before each change of a file.
The next fetch must find or fetch the right files, and nothing else may be there then. Two processes
fetch the same at the same moment. Files are damaged, and must be refused by name. Prints counts as
JSON; exits with 1 on a failure.
"""
import argparse, contextlib, hashlib, io, itertools, multiprocessing, random, tempfile, traceback
from pathlib import Path
from forgetprune import data, text
from trial.common import at_change, contents, count, end, in_child, interrupt, kill

files = {n: random.Random(i).randbytes(50_000) for i,n in enumerate(data.idx_files)}
words = 'In the beginning was the word.\n'*1000

def local():
    "Sources on this machine in the place of those that are far away"
    def four(name, tmp):
        for n,b in files.items(): (tmp/n).write_bytes(b)
        return tmp
    def fails(name, tmp):
        (tmp/'half').write_bytes(b'x')
        raise OSError('no network')
    data.md5s['mnist'] = {n: hashlib.md5(b).hexdigest() for n,b in files.items()}
    data.sources['mnist'] = fails,four
    text.from_address = fails
    text.from_packages = lambda name, tmp: words
    known = hashlib.sha256(words.encode()).hexdigest()
    text.texts['kjv'] = text.texts['kjv'] | dict(clean=str, known=known)

note = f'{hashlib.sha256(words.encode()).hexdigest()}  kjv.txt\n'.encode()
kinds = {'data': (lambda d: data.fetch('mnist', d), {f'MNIST/raw/{n}': b for n,b in files.items()}),
    'text': (lambda d: text.get_text('kjv', d), {'text/kjv.txt': words.encode(),
        'text/kjv.txt.sha256': note})}

def begun(d, there):
    "A folder that holds the first files already"
    for n,b in there.items():
        (d/n).parent.mkdir(parents=True, exist_ok=True)
        (d/n).write_bytes(b)

def found(d, fetched, whole):
    "What is wrong with a folder in which another process has ended"
    half = {n for n,b in contents(d).items() if n in whole and b!=whole[n]}
    if half: return f'wrong: {sorted(half)} are there, and not whole'
    fetched(d)
    there,folders = contents(d),[p.name for p in d.rglob('.*')]
    if there!=whole or folders: return f'wrong: {sorted(set(there)^set(whole))} {folders}'

def ended(counts, kind, do, n_there):
    "Stop a fetch before each of its changes"
    fetched,whole = kinds[kind]
    for i in itertools.count(1):
        with tempfile.TemporaryDirectory() as d:
            d = Path(d)
            begun(d, dict(list(whole.items())[:n_there]))
            def child():
                at_change(d, i, do)
                fetched(d)
            if in_child(child)==0: return
            what = 'killed' if do is kill else 'interrupted'
            count(counts, f'{kind}: {what} at a change of a file',
                found(d, fetched, whole) or 'the next fetch is right, nothing is left')

def fetching(fetched, d, gate):
    "A process that fetches when the other comes to the gate"
    def child():
        gate.wait()
        fetched(d)
    return multiprocessing.get_context('fork').Process(target=lambda: exit(in_child(child)))

def aligned(counts, kind, n):
    fetched,whole = kinds[kind]
    for _ in range(n):
        with tempfile.TemporaryDirectory() as d:
            d,gate = Path(d),multiprocessing.get_context('fork').Barrier(2)
            both = [fetching(fetched, d, gate) for _ in range(2)]
            for p in both: p.start()
            for p in both: p.join()
            codes,wrong = [p.exitcode for p in both],found(d, fetched, whole)
            if codes!=[0, 0]: wrong = f'wrong: ended with {codes}'
            count(counts, f'{kind}: two fetches at once', wrong or 'both right, nothing is left')

def damaged(counts, kind, n, rng):
    fetched,whole = kinds[kind]
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        begun(d, whole)
        for _ in range(n):
            name = rng.choice(list(whole))
            b = bytearray(whole[name])
            at = rng.randrange(64 if name.endswith('sha256') else len(b))
            if rng.random() < 0.3: del b[at:] # an end that is missing
            else: b[at] ^= 1<<rng.randrange(8)
            (d/name).write_bytes(b)
            try:
                fetched(d)
                came = 'wrong: believed'
            except data.DataError as e:
                came = 'refused by name' if str(d/name) in str(e) else f'wrong: {e}'
            except Exception:
                came = 'wrong: crashed'
                traceback.print_exc()
            if contents(d)!=whole | {name: bytes(b)}: came = 'wrong: changed'
            count(counts, f'{kind}: damaged files', came)
            (d/name).write_bytes(whole[name])

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=20, help='pairs at once, and a tenth of damaged files')
    p.add_argument('--seed', type=int, default=0)
    a,counts = p.parse_args(),{}
    local()
    with contextlib.redirect_stdout(io.StringIO()):
        for kind,(_,whole) in kinds.items():
            for do in (kill, interrupt):
                for n_there in (0, len(whole)//2): ended(counts, kind, do, n_there)
            aligned(counts, kind, a.n)
            damaged(counts, kind, 10*a.n, random.Random(a.seed))
    end(counts)

if __name__=='__main__': main()
