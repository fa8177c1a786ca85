"""Sweeps lose no row, and no row comes twice

    python -m trial.sweeps --n 8

A sweep is killed at any moment and started again. One of its runs kills the process that it is in.
Its disk, of 2 or 3 MB, is full after some of its runs. All rows must be there once, those that were
there must stay as they were, workers must end with their driver, and the rest must be said. Prints
counts as JSON; exits with 1 on a failure.
"""
import argparse, json, os, random, subprocess, sys, tempfile, textwrap, time
from pathlib import Path
from forgetprune.sweep import Store
from trial.common import count, end, no_mount

driver = textwrap.dedent('''
    import os, signal, sys, time
    from forgetprune.sweep import sweep
    jobs,size,deadly,n,pause = map(int, sys.argv[1:])
    def run(x, seed):
        with open('pids', 'a') as f: f.write(f'{os.getpid()} ')
        time.sleep(pause/1000)
        if x==deadly: os.kill(os.getpid(), signal.SIGKILL)
        with open(os.environ['ENDED'], 'a') as f: f.write(f'{x} ')
        return dict(y=x*x, text='a'*size)
    if __name__=='__main__':
        df = sweep(run, dict(x=list(range(n))), store='a.db', n_jobs=jobs, progress=False)
        print(int(df.y.notna().sum()), int(df.error.notna().sum()))
''')

def start(folder, jobs, size=0, deadly=-1, n=12, pause=30):
    "A sweep of `n` runs in a process of its own"
    (folder/'driver.py').write_text(driver)
    env = dict(os.environ, ENDED=os.environ.get('ENDED', str(folder/'ended')), OMP_NUM_THREADS='1')
    args = map(str, (jobs, size, deadly, n, pause))
    return subprocess.Popen([sys.executable, 'driver.py', *args], cwd=folder, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def rows(folder):
    with Store(folder/'a.db') as s: return s.rows()

def lives(pid):
    try: return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]!='Z'
    except OSError: return False

def killed(folder, rng):
    "The driver dies at any moment; what is wrong afterwards"
    jobs = rng.choice([1, 2])
    p,until = start(folder, jobs),time.monotonic()+rng.random()*5
    while p.poll() is None and time.monotonic() < until: time.sleep(0.01)
    p.kill(); p.communicate()
    before = rows(folder)
    time.sleep(3) # a worker looks every second
    pids = (folder/'pids').read_text().split() if (folder/'pids').exists() else []
    wrong = [f'{pid} outlived its driver' for pid in set(pids) if lives(pid)]
    out,_ = start(folder, jobs).communicate(timeout=900)
    if out.split()!=['12', '0']: wrong.append(f'resumed: {out!r}')
    if {k: v for k,v in rows(folder).items() if k in before}!=before: wrong.append('rows changed')
    if list(folder.glob('.*')): wrong.append('files are left')
    return wrong

def deadly(folder, rng):
    "A run kills its process; the others are there, and it is said"
    out,err = start(folder, rng.choice([1, 2]), deadly=rng.randrange(12)).communicate(timeout=900)
    return [] if out.split()==['11', '1'] else [f'a deadly run: {out!r} {err[-200:]!r}']

def may_mount():
    "May this user mount a small disk of his own?"
    with tempfile.TemporaryDirectory() as d:
        mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', d]
        try: return not subprocess.run(['unshare', '-Urm', *mount], capture_output=True).returncode
        except FileNotFoundError: return False

def full(folder):
    "On a disk of 2 or 3 MB all that ended is in the file; runs in a name space of its own"
    rng,wrong = random.Random(os.getpid()),[]
    mb,jobs = rng.choice([2, 3]),rng.choice([1, 2])
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={mb}m', 'none', folder], check=True)
    os.environ['ENDED'] = tempfile.mkstemp()[1]
    since = time.monotonic()
    p = start(folder, jobs, size=100_000, n=40, pause=100)
    _,err = p.communicate(timeout=900)
    took,ended = time.monotonic()-since,len(Path(os.environ['ENDED']).read_text().split())
    os.unlink(os.environ['ENDED'])
    if 'its disk is full' not in err: wrong.append(f'not said: {err[-300:]!r}')
    n = len(rows(folder))
    if n!=ended or not 0 < ended < 40: wrong.append(f'{n} rows, {ended} runs ended')
    if took > 240: wrong.append(f'it took {took:.0f} s')
    return wrong

def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('--n', type=int, default=8, help='trials, of three kinds')
    ap.add_argument('--seed', type=int, default=0)
    ap.add_argument('--full', type=Path, help='one trial on a full disk, in this folder')
    a = ap.parse_args()
    if a.full: return print(json.dumps(full(a.full.resolve())))
    rng,counts = random.Random(a.seed),{}
    for i in range(a.n):
        kind = (killed, full, deadly, killed)[i%4]
        if kind is full and not may_mount():
            count(counts, kinds[kind][0], no_mount)
            continue
        with tempfile.TemporaryDirectory() as d:
            if kind is full:
                inside = [sys.executable, '-m', 'trial.sweeps', '--full', d]
                r = subprocess.run(['unshare', '-Urm', *inside], capture_output=True, text=True)
                wrong = [r.stderr[-300:]] if r.returncode else json.loads(r.stdout)
            else: wrong = kind(Path(d), rng)
        what,came = kinds[kind]
        count(counts, what, f'wrong: {wrong}' if wrong else came)
    end(counts)

kinds = {killed: ('sweeps that were killed', 'resumed, each row there once, workers ended'),
    deadly: ('runs that kill their process', 'said, and all other rows there'),
    full: ('sweeps on a full disk', 'said, and all computed rows there')}

if __name__=='__main__': main()
