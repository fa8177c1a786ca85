"""A run's folder holds the old run or the new one, never a mixture

    python -m trial.runs --n 40

A run is written over another, and an audit is added to it; the process is killed or interrupted
before every change of a file. Two commands write into one folder at the same moment. Bits of the
files of a run are flipped. Files may not grow beyond a size that a run needs. A command is
interrupted in its first seconds. Prints counts as JSON; exits with 1 if a folder was neither the
old run nor the new one, if something else was lost or left, or if anything but a sentence was said.
"""
import argparse, io, multiprocessing, os, random, resource, signal, subprocess, sys, tempfile, time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
import torch
from safetensors.torch import save_file
from forgetprune.cli import main
from forgetprune.runs import new_run, read_run, run_folder
from trial.common import at_change, end, in_child, interrupt, kill

# ---- one writer, killed

old = {'curve.csv': 'old', 'curve.png': 'old', 'report.html': 'old'}
new = {'curve.csv': 'new', 'model.safetensors': 'new', 'report.html': 'new'}
more = {'audit.json': 'more', 'report.html': 'more'}
kept = {'notes.txt': 'mine', '.report.html-mybackup': 'mine', '.curve.csv-12345678': 'mine'}

def write_old(d):
    with new_run(d) as run: run.put(dict(command='forget', of='old'), old)
    for n,text in kept.items(): (d/n).write_text(text)

def write_new(d, begun=lambda: None):
    "A run in the place of another, and then its audit"
    with new_run(d, force=True) as run:
        begun()
        run.put(dict(command='forget', of='new'), new)
        run.put(run.result | dict(audit='more'), more, more=True)

def state(d):
    "Which run a folder holds, or a word on what is wrong; what is not the run's must be there"
    try: result = read_run(d)
    except (ValueError, OSError) as e: return f'wrong: {e}'
    want = old if result['of']=='old' else new | (more if 'audit' in result else {})
    there = {f.name: f.read_text() for f in d.iterdir() if f.is_file() and f.name!='result.json'}
    if there!=want | kept: return f'wrong: {sorted(there.items())}'
    return result['of']+('+audit' if 'audit' in result else '')

def ended(tmp, i, do, settled):
    "The state of a folder whose writer was stopped before its `i`-th change, and how it ended"
    d = Path(tmp)/f'{do.__name__}{i}'
    write_old(d)
    def child():
        at_change(d, i, do)
        write_new(d)
    code = in_child(child)
    if settled: # the next command has looked at it
        with run_folder(d): pass
    if (d/'.forgetprune').exists(): return 'wrong: something was left', code
    return state(d), code

def stopped(do, settled):
    "How often a folder was old or new, over all changes that a writer makes"
    counts,i = {},0
    with tempfile.TemporaryDirectory() as tmp:
        while True:
            i += 1
            found,code = ended(tmp, i, do, settled)
            counts[found] = counts.get(found, 0)+1
            if code==0: return counts # it made fewer changes than that

# ---- two writers, aligned

def checkpoint(path, n):
    save_file({'a.ff.up.weight': torch.full((4, 3), float(n)), 'a.ff.down.weight':
        torch.ones(3, 4)}, path)
    return str(path)

def started(args, gate, said):
    "A command in a child that begins when all have come to the gate"
    def child():
        gate.wait()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
            try: main(args)
            except SystemExit as e: code = e.code or 0
        said.send(err.getvalue())
        return code
    return multiprocessing.get_context('fork').Process(target=lambda: os._exit(child()))

def pair(tmp, i, force):
    "Two commands into one folder: a word on what became of it"
    nets,out = [checkpoint(Path(tmp)/f'{i}-{j}.safetensors', j+1) for j in (0, 1)],Path(tmp)/str(i)
    gate,ends = multiprocessing.get_context('fork').Barrier(2),[]
    if force:
        with redirect_stdout(io.StringIO()):
            try: main(['magnitudes', nets[0], '--out', str(out)])
            except SystemExit: pass
    for net in nets:
        a,b = multiprocessing.Pipe(False)
        ends.append((started(['magnitudes', net, '--out', str(out), *force], gate, b), a))
    for p,_ in ends: p.start()
    for p,_ in ends: p.join()
    codes,errors = [p.exitcode for p,_ in ends],[r.recv() for _,r in ends]
    won = [n for n,c in zip(nets, codes) if c==0]
    result = read_run(out)
    if result['path'] not in won or sorted(codes) not in ([0, 2], [0, 0]):
        return f'wrong: {codes} {errors}'
    if [f.name for f in out.iterdir() if f.name.startswith('.')]: return 'wrong: something was left'
    if codes==[0, 0]: return 'both ran, the later is there' if force else 'wrong: both ran'
    refused = errors[codes.index(2)]
    if 'is writing there' in refused: return 'one ran, the other was told to wait'
    return 'one ran, the other found it there' if 'already' in refused else f'wrong: {refused}'

def aligned(n, force=()):
    counts = {}
    with tempfile.TemporaryDirectory() as tmp:
        for i in range(n):
            try: found = pair(tmp, i, force)
            except (ValueError, OSError) as e: found = f'wrong: {e}'
            counts[found] = counts.get(found, 0)+1
    return counts

# ---- a full disk, as a limit to the size of files

def full(limits=(0, 1, 2, 3, 5, 100, 800, 4000)):
    "How often a folder was old or new, and what stopped the writer"
    counts = {}
    with tempfile.TemporaryDirectory() as tmp:
        for limit in limits:
            d = Path(tmp)/str(limit)
            write_old(d)
            def child():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN) # an error instead
                size = resource.RLIMIT_FSIZE,(limit, limit)
                try: write_new(d, lambda: resource.setrlimit(*size))
                except OSError: return 7
            ends = {0: 'written', 7: 'stopped by an error'}.get(in_child(child), 'wrong: crashed')
            found = f'{state(d)}, {ends}'
            if (d/'.forgetprune').exists() or 'wrong' in found: found = f'wrong: {found}'
            counts[found] = counts.get(found, 0)+1
    return counts

# ---- mutated files

def mutated(n):
    "Flip a byte of a file of a run: is it refused?"
    counts,rng = {},random.Random(0)
    with tempfile.TemporaryDirectory() as tmp:
        d = Path(tmp)/'run'
        with redirect_stdout(io.StringIO()):
            try: main(['magnitudes', checkpoint(Path(tmp)/'c.safetensors', 1), '--out', str(d)])
            except SystemExit: pass
        was = read_run(d)
        for _ in range(n):
            f = rng.choice(sorted(d.iterdir()))
            raw = f.read_bytes()
            i = rng.randrange(len(raw))
            f.write_bytes(raw[:i]+bytes([raw[i]^1<<rng.randrange(8)])+raw[i+1:])
            try: found = 'the same values' if read_run(d)==was else 'wrong: believed'
            except ValueError: found = 'refused'
            if found!='refused' and f.suffix not in ('.json', '.html'): found = 'wrong: not seen'
            if found!='refused' and f.suffix=='.html': found = 'a page, which may be edited'
            counts[found] = counts.get(found, 0)+1
            f.write_bytes(raw)
    return counts

# ---- the first seconds

def listening():
    "To interrupts, which a process that was started in the background does not hear"
    signal.signal(signal.SIGINT, signal.SIG_DFL)

def first_seconds(n):
    "Interrupt a command while it starts: a sentence, or Python's own words before it reads ours"
    counts = {}
    for i in range(n):
        with tempfile.TemporaryDirectory() as tmp:
            p = subprocess.Popen([sys.executable, '-c', 'from forgetprune.cli import main; main()',
                'forget', '--data', 'digits', '--target', '7', '--path', tmp],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening)
            wait = 0.1+2.5*i/n
            time.sleep(wait)
            p.send_signal(signal.SIGINT)
            err = p.communicate()[1].splitlines()
        last = err[-1] if err else 'nothing'
        found = last if p.returncode==130 and not any('Traceback' in l for l in err) else (
            f'wrong: after {wait:.2f} s: {p.returncode} {last}')
        if p.returncode in (-2, 1) and not any('forgetprune' in l for l in err):
            found = 'Python itself was interrupted'
        counts[found] = counts.get(found, 0)+1
    return counts

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=40, help='pairs of writers of each kind')
    n = p.parse_args().n
    end({'writers that were killed': stopped(kill, True),
        'writers that were interrupted': stopped(interrupt, False),
        'pairs into an empty folder': aligned(n),
        'pairs over another run, with --force': aligned(n, ['--force']),
        'files that may not grow': full(), 'files with a flipped bit': mutated(10*n),
        'interrupts in the first seconds': first_seconds(n//2)})
