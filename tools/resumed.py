"""Jobs that joblib runs for a chapter, kept until its full run has come to an end

A full run may take an hour; a machine may be switched off, and a cell may fail. What `Parallel` has
finished lies in a hidden folder beside the notebook and is not done again by the next full run, if
it is of the same code: that of the package, of the cell and of those above it, with the same
version of PyTorch. A cell may be mended below a long one, and the long one is not done again.
"""
import hashlib, json, re, shutil
from importlib.metadata import version
from itertools import count
from chapters import cells, repo, source

def _digest(text): return hashlib.sha256(text.encode()).hexdigest()[:16]

def folder_of(nb):
    "Where the finished jobs of a chapter lie"
    return nb.with_name(f'.{nb.stem}.kept')

def marks(nb):
    "Of each code cell, by its id: a name for the code that has run when it is through"
    files = [p.read_text(encoding='utf-8') for p in sorted((repo/'forgetprune').glob('*.py'))]
    at,res = _digest(json.dumps([version('torch'), files])),{}
    for c in cells(nb):
        if c['cell_type']!='code': continue
        # captions may change
        res[c['id']] = at = _digest(at+re.sub(r'^#\|.*\n?', '', source(c), flags=re.M))
    return res

def keep(
    folder, # of the jobs
    names # see `marks`
): # to be called with each cell before it runs
    "From here on joblib's `Parallel` keeps results in `folder`, and takes those of the same code"
    import joblib
    folder.mkdir(exist_ok=True)
    for p in folder.iterdir():
        if p.name.split('-')[0] not in names.values() or p.suffix!='.pkl': p.unlink()
    now = {}
    def next_cell(c): now.update(name=names.get(c.get('id')), calls=count())
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
            if self.return_generator or not now.get('name'): return super().__call__(jobs)
            n = next(now['calls'])
            def path(i, job):
                said = re.sub('0x[0-9a-f]+', '', repr(job[1:])) # but for where they lie in memory
                return folder/f'{now["name"]}-{n}-{i}-{_digest(said)}.pkl'
            return super().__call__([joblib.delayed(kept)(path(i, job), *job)
                for i,job in enumerate(jobs)])
    joblib.Parallel = Parallel
    return next_cell

def forget(nb):
    "The run came to an end"
    shutil.rmtree(folder_of(nb), ignore_errors=True)
