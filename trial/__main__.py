"""All trials, or those that are named

    python -m trial [NAME ...] [--out trial/results.json]

Each prints counts; those of all are printed as JSON, with what was tried and how long it took, and
written to `--out`, where the counts of trials that were not run stay. Exits with 1 if anything was
wrong.
"""
import argparse, importlib, inspect, json, platform, subprocess, sys, time
from pathlib import Path
import torch
from forgetprune.basics import whole_file
from trial.common import failed

here = Path(__file__).parent
names = ['files', 'downloads', 'runs', 'commands', 'disk', 'sweeps', 'resumed']

def told(name):
    "What a trial is of, in a sentence and more, as its first lines say"
    title,more = inspect.getdoc(importlib.import_module(f'trial.{name}')).split('\n\n', 1)
    more = '\n\n'.join(p for p in more.split('\n\n') if not p.startswith(' '))
    more = ' '.join(more.split()).partition(' Prints counts as JSON')[0]
    return dict(name=name, title=' '.join(title.split()), more=more)

def tried(name):
    "Run a trial in a process of its own; None if it did not come to its end"
    print(f'trial.{name} ...', file=sys.stderr, flush=True)
    since = time.monotonic()
    r = subprocess.run([sys.executable, '-m', f'trial.{name}'], stdout=subprocess.PIPE, text=True)
    try: counts = json.loads(r.stdout)
    except ValueError: return None
    if bool(r.returncode)!=failed(counts): return None
    return told(name) | dict(seconds=round(time.monotonic()-since), counts=counts)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('names', nargs='*', metavar='NAME', help=f'of {", ".join(names)}')
    p.add_argument('--out', type=Path, help='JSON file for the counts')
    a = p.parse_args()
    if strange := sorted(set(a.names)-set(names)):
        p.error(f'{strange[0]} is unknown; there are {", ".join(names)}')
    where = dict(python=platform.python_version(), torch=torch.__version__,
        system=platform.system())
    old = json.loads(a.out.read_text())['trials'] if a.out and a.out.exists() else []
    done,broken = {t['name']: t for t in old},False
    for n in a.names or names:
        if (t := tried(n)) is None:
            broken = True
            print(f'trial.{n} did not come to its end', file=sys.stderr)
            continue
        broken |= failed(t['counts'])
        done[n] = t
        if a.out: # a trial that is done is kept, whatever comes
            with whole_file(a.out) as tmp: tmp.write_text(json.dumps(dict(where=where,
                trials=[done[m] for m in names if m in done]), indent=1)+'\n')
    print(json.dumps({n: t['counts'] for n,t in done.items() if n in (a.names or names)}, indent=1))
    sys.exit(broken)

if __name__=='__main__': main()
