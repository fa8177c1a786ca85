"""Jobs that joblib runs for a chapter, kept until its full run has come to an end

A full run may take an hour, and a machine may be switched off. What `Parallel` has finished lies in
a hidden folder beside the notebook and is not done again by the next full run, if it is of the same
code: that of all cells of the chapter and of the package, with the same version of PyTorch.
"""
import hashlib, json, re, shutil
from pathlib import Path

def folder_of(nb):
    "Where the finished jobs of a chapter lie"
    return nb.with_name(f'.{nb.stem}.kept')

def mark(nb, package):
    "A name for the code that a chapter runs"
    import torch
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    code = [''.join(c['source']) for c in cells if c['cell_type']=='code']
    files = [p.read_text(encoding='utf-8') for p in sorted(Path(package).glob('*.py'))]
    said = json.dumps([torch.__version__, code, files])
    return hashlib.sha256(said.encode()).hexdigest()[:16]

def keep(folder, name):
    "From here on joblib's `Parallel` keeps results in `folder`, and takes those of the code `name`"
    import joblib
    folder.mkdir(exist_ok=True)
    for p in folder.iterdir():
        if not p.name.startswith(name) or p.suffix!='.pkl': p.unlink()
    calls = iter(range(10**6))
    # a function within, so that it travels to other processes as a whole
    def kept(path, f, args, kw):
        import os, pickle
        if os.path.exists(path):
            with open(path, 'rb') as file: return pickle.load(file)
        res = f(*args, **kw)
        with open(f'{path}.{os.getpid()}', 'wb') as file: pickle.dump(res, file)
        os.replace(f'{path}.{os.getpid()}', path)
        return res
    class Parallel(joblib.Parallel):
        def __call__(self, jobs):
            if self.return_generator: return super().__call__(jobs)
            n = next(calls)
            def path(i, job):
                said = re.sub('0x[0-9a-f]+', '', repr(job[1:])) # but for where they lie in memory
                asked = hashlib.sha256(said.encode()).hexdigest()
                return str(folder/f'{name}-{n}-{i}-{asked[:16]}.pkl')
            return super().__call__([joblib.delayed(kept)(path(i, job), *job)
                for i,job in enumerate(jobs)])
    joblib.Parallel = Parallel

def forget(nb):
    "The run came to an end"
    shutil.rmtree(folder_of(nb), ignore_errors=True)
