"Hand settings.ini to setuptools: what the package is and needs is written there and nowhere else"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

cfg = ConfigParser(interpolation=None)
cfg.read('settings.ini', encoding='utf-8')
s = cfg['DEFAULT']
home = s['repository']
# on a package index there are no files beside the page: links and pictures name the repository
readme = Path('README.md').read_text(encoding='utf-8')
readme = re.sub(r'(!\[[^\]]*\]\()(?!https?:)', rf'\1{home}/raw/main/', readme)
readme = re.sub(r'((?<!!)\[[^\]]*\]\()(?!https?:|#)', rf'\1{home}/blob/main/', readme)
extras = {n: s[f'{n}_requirements'].split() for n in ('hf', 'scale', 'site', 'dev')}
setup(description=s['description'], keywords=s['keywords'].split(), author=s['author'],
    license=s['license'], long_description=readme, long_description_content_type='text/markdown',
    project_urls=dict(Homepage=home, Changelog=f'{home}/blob/main/CHANGELOG.md',
        Issues=f'{home}/issues'),
    install_requires=s['requirements'].split(), extras_require=extras)
