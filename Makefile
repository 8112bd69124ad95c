# The verbs of this book. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help book test quick notebooks full confirm serve pdf address test-colab drawings lock clean setup

help:        ## list the verbs
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup:
	@bash tools/setup.sh

book: setup  ## build the HTML book in _build/html from the stored, checked outputs
	@bash tools/build.sh

test: setup  ## run every check: style, package, chapters, pages
	@bash tools/check.sh

quick: setup  ## an answer in four minutes: style, the fast tests, the chapters that changed
	@bash tools/quick.sh

notebooks: setup  ## execute again exactly the chapters that changed
	@.venv/bin/python tools/notebooks.py
	@.venv/bin/python tools/plain_notebooks.py

full: setup  ## make the records of the longer runs again (an hour on 2 cores; on a GPU if there is one)
	@.venv/bin/python tools/notebooks.py --full

confirm: setup  ## compute the first and last case of every longer run again; keep the records that agree
	@.venv/bin/python tools/notebooks.py --confirm

serve: book  ## serve the book at http://localhost:8000
	@.venv/bin/python -m http.server --directory _build/html 8000

pdf: book    ## the whole book as one PDF in _build/pdf; make pdf CODE=1 with its code and the module
	@.venv/bin/python tools/pdf.py $(if $(CODE),--code)

address: setup  ## carry the repository's address from _config.yml to wherever it is needed
	@.venv/bin/python tools/address.py
	@.venv/bin/python tools/plain_notebooks.py

test-colab: setup  ## run every chapter alone in an empty folder, as Colab would
	@DDT_COLAB=all .venv/bin/python -m pytest tests/test_colab.py

lock: setup  ## resolve requirements.txt again and write what it needs to requirements.lock
	@.venv/bin/python tools/lock.py

drawings: setup  ## draw the logo, the thumbnails and the charts of the run times again
	@.venv/bin/python tools/drawings.py

clean:       ## remove the built book and the environments
	rm -rf _build .venv .venv-colab
