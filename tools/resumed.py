"""Jobs that joblib runs for a chapter, kept until its full run has come to an end

A full run may take an hour, and a machine may be switched off. What `Parallel` has finished lies in
a hidden folder beside the notebook and is not done again by the next full run, if it is of the same
code: that of all cells of the chapter and of the package, with the same version of PyTorch.
"""
import hashlib, json, re, shutil
from importlib.metadata import version
from itertools import count
from pathlib import Path
from chapters import cells, source

def _digest(text): return hashlib.sha256(text.encode()).hexdigest()[:16]

def folder_of(nb):
    "Where the finished jobs of a chapter lie"
    return nb.with_name(f'.{nb.stem}.kept')

def mark(nb, package):
    "A name for the code that a chapter runs"
    code = [source(c) for c in cells(nb) if c['cell_type']=='code']
    files = [p.read_text(encoding='utf-8') for p in sorted(Path(package).glob('*.py'))]
    return _digest(json.dumps([version('torch'), code, files]))

def keep(folder, name):
    "From here on joblib's `Parallel` keeps results in `folder`, and takes those of the code `name`"
    import joblib
    folder.mkdir(exist_ok=True)
    for p in folder.iterdir():
        if not p.name.startswith(name) or p.suffix!='.pkl': p.unlink()
    calls = count()
    # a function within, so that it travels to other processes as a whole
    def kept(path, f, args, kw):
        import pickle
        from forgetprune.basics import whole_file
        if path.exists(): return pickle.loads(path.read_bytes())
        res = f(*args, **kw)
        with whole_file(path) as tmp: tmp.write_bytes(pickle.dumps(res))
        return res
    class Parallel(joblib.Parallel):
        def __call__(self, jobs):
            if self.return_generator: return super().__call__(jobs)
            n = next(calls)
            def path(i, job):
                said = re.sub('0x[0-9a-f]+', '', repr(job[1:])) # but for where they lie in memory
                return folder/f'{name}-{n}-{i}-{_digest(said)}.pkl'
            return super().__call__([joblib.delayed(kept)(path(i, job), *job)
                for i,job in enumerate(jobs)])
    joblib.Parallel = Parallel

def forget(nb):
    "The run came to an end"
    shutil.rmtree(folder_of(nb), ignore_errors=True)
