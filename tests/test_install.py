"`pip install .` in a clean environment gives a working command and library"
import os, subprocess, venv
from pathlib import Path

repo = Path(__file__).resolve().parents[1]

def test_pip_install(tmp_path):
    src = tmp_path/'src'
    files = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=repo, capture_output=True, text=True, check=True).stdout.split('\n')
    for f in filter(None, files):
        if not (repo/f).exists(): continue
        (src/f).parent.mkdir(parents=True, exist_ok=True)
        (src/f).write_bytes((repo/f).read_bytes())
    venv.create(tmp_path/'env', with_pip=True)
    python = tmp_path/'env'/'bin'/'python'
    env = {k: v for k,v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    def sh(*cmd, **kw):
        r = subprocess.run(list(map(str, cmd)), capture_output=True, text=True, env=env, timeout=1200, **kw)
        assert r.returncode==0, r.stdout[-3000:]+r.stderr[-3000:]
        return r.stdout
    sh(python, '-m', 'pip', 'install', '-q', '-c', repo/'constraints.txt', src)
    away = tmp_path/'away'; away.mkdir()
    where = sh(python, '-c', 'import forgetprune; from forgetprune.all import *; print(forgetprune.__file__, list(criteria))', cwd=away)
    assert str(tmp_path/'env') in where
    out = sh(tmp_path/'env'/'bin'/'forgetprune', 'forget', '--target', 7, '--data', 'digits', '--path', tmp_path/'data', '--out', 'o', cwd=away)
    assert 'as trained' in out and (away/'o'/'report.html').exists()
    meta = sh(python, '-m', 'pip', 'show', 'forgetprune')
    import configparser
    cfg = configparser.ConfigParser(interpolation=None); cfg.read(repo/'settings.ini')
    assert cfg['DEFAULT']['description'] in meta and 'Apache-2.0' in meta and 'torch' in meta
