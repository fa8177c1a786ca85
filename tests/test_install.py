"`pip install .` in a clean environment gives a working command and library"
import configparser, os, site, subprocess, sys, venv
from pathlib import Path
import pytest

repo = Path(__file__).resolve().parents[1]

@pytest.fixture
def installed(tmp_path):
    "Installs what git knows of this folder into an environment of its own; runs commands there"
    def sh(*cmd, **kw):
        env = {k: v for k,v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
        r = subprocess.run(list(map(str, cmd)), capture_output=True, text=True, env=env,
            timeout=1200, **kw)
        assert r.returncode==0, r.stdout[-3000:]+r.stderr[-3000:]
        return r.stdout
    def f(*options):
        src = tmp_path/'src'
        files = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=repo,
            capture_output=True, text=True, check=True).stdout.split('\n')
        for f in filter(None, files):
            if not (repo/f).exists(): continue
            (src/f).parent.mkdir(parents=True, exist_ok=True)
            (src/f).write_bytes((repo/f).read_bytes())
        env = tmp_path/'env'
        venv.create(env, with_pip=True)
        python = env/'bin'/'python'
        if '--no-deps' in options: # what the package needs, from where it is
            at = next((env/'lib').glob('python*'))/'site-packages'
            (at/'outside.pth').write_text('\n'.join(site.getsitepackages()))
            sh(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
                '-w', tmp_path, src)
            src = next(tmp_path.glob('forgetprune*.whl'))
        sh(python, '-m', 'pip', 'install', '-q', *options, src)
        return sh,env
    return f

def works(sh, env, tmp_path):
    "Asserts that library and command are there, do what they say, and say what they are"
    away,python = tmp_path/'away',env/'bin'/'python'
    away.mkdir()
    where = sh(python, '-c', 'import forgetprune; from forgetprune.all import *; '
        'print(forgetprune.__file__, list(criteria))', cwd=away)
    assert str(env) in where
    out = sh(env/'bin'/'forgetprune', 'forget', '--target', 7, '--data', 'digits', '--path',
        tmp_path/'data', '--out', 'o', cwd=away)
    assert 'as trained' in out and (away/'o'/'report.html').exists()
    meta = sh(python, '-m', 'pip', 'show', '--verbose', 'forgetprune',
        cwd=away)
    cfg = configparser.ConfigParser(interpolation=None); cfg.read(repo/'settings.ini')
    assert cfg['DEFAULT']['description'] in meta and 'Apache-2.0' in meta and 'torch' in meta
    assert cfg['DEFAULT']['repository'] in meta and 'Programming Language :: Python' in meta
    page = sh(python, '-c', 'from importlib.metadata import metadata; '
        'm = metadata("forgetprune"); print(m.get_payload() or m["Description"])', cwd=away)
    assert '# forgetprune' in page and '](nbs/' not in page and '](README_files' not in page

@pytest.mark.slow
def test_the_package_installs(installed, tmp_path):
    "Without fetching what it needs: that is here already"
    works(*installed('--no-deps'), tmp_path)

@pytest.mark.network
def test_pip_install(installed, tmp_path):
    "As a user installs it, with all that it needs"
    works(*installed('-c', repo/'constraints.txt'), tmp_path)
