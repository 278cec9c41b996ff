# Two commands: `make lab` opens the course, `make test` tests all of it. Both set up .venv first, once. `make check` is
# the quick one, for whoever changes something.
#
#   make lab ARGS="--no-browser --port=8899"     flags for JupyterLab
#   make test ARGS="-k digits"                   flags for pytest
#   make paper ARGS="--seeds 2"                  fewer seeds
#   make results ARGS=05                         one lesson's
#   make site ARGS="04_mmd --out pages"          some lessons, another folder
#   make links ARGS=https://github.com/somebody/course     the address of a fork that stands by itself
#   make challenge SUBMISSION=my.py ARGS="--seeds 1"       a quick try
#   PYTHON=python3.12                            the Python to build .venv with
#   CONSTRAINTS=constraints.txt                  install the exact set that is tested, as CI does
#   WHEELS="/media/stick/wheels"                 the folder that `make wheels` fills and `make lab` installs from

RUN := .venv/bin/python
SETUP = @sh tools/python.sh tools/setup_env.py $(if $(CONSTRAINTS),--constraints $(CONSTRAINTS)) $(if $(WHEELS),--wheels "$(WHEELS)")

# One process a core and one thread a process: small nets are slower with more.
WORKERS ?= logical
check test: export OMP_NUM_THREADS = 1
check test: export MKL_NUM_THREADS = 1
check test: export OPENBLAS_NUM_THREADS = 1
check test: export NUMBA_NUM_THREADS = 1

.PHONY: challenge help lab wheels check test site handouts slides bench results paper picture times links clean-notebooks constraints

help:
	@echo "make lab               open the course in JupyterLab: your own copies of the lessons, in work/"
	@echo "make wheels            fill wheels/ with what make lab installs; make lab WHEELS=wheels then needs no network"
	@echo "make check             while you work: style, import rules, examples, quick unit tests; no browser"
	@echo "make test              unit tests, every notebook, and the browser tests"
	@echo "make site              run the lessons, and write them as web pages that work offline, into site/"
	@echo "make handouts          the lessons without hints and solutions, into handouts/, and these apart; ARGS=03_clip for one"
	@echo "make slides            run the lessons, and write them as slides that work offline, into slides/; ARGS=03_clip for one"
	@echo "make bench             measure speed and memory beside other libraries, into tests/benchmarks/results.md"
	@echo "make results           repeat the runs over several seeds that the lessons quote: hours; ARGS=05 for one lesson"
	@echo "make paper             two rows of the DANN paper's table, for a GPU; on a CPU the first in small, in hours"
	@echo "make challenge         train and score a method of your own: SUBMISSION=my.py; challenge/README.md has the rules"
	@echo "make picture           take the pictures of README and of the lessons from the running course"
	@echo "make times             run every lesson, and write its seconds into README.md and its title"
	@echo "make links             write the repository's address into all badges and installs; ARGS=address for another"
	@echo "make clean-notebooks   store the notebooks as the tests want them: no outputs, ids, plain metadata"
	@echo "make constraints       write what is installed in .venv to constraints.txt"

lab:
	$(SETUP) --optional speech
	@$(RUN) tools/lab.py $(ARGS)

wheels:
	@sh tools/python.sh tools/wheels.py $(if $(CONSTRAINTS),--constraints $(CONSTRAINTS)) $(if $(WHEELS),--folder "$(WHEELS)")

check:
	$(SETUP) --extras test
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check --quiet .
	@.venv/bin/lint-imports --no-logo
	@$(RUN) -m pytest tests xlib --doctest-modules -m "not browser and not long" \
		-n $(WORKERS) --maxprocesses=8 --dist=loadgroup -q $(ARGS)

# The tests of Binder and Colab come first, by themselves: they need a package index, and no other test may have a
# network. Their status 5 means that ARGS chose none of them.
test:
	$(SETUP) --extras test,browser --optional speech
	@$(RUN) -m pytest tests/launch -n 2 --dist=loadfile $(ARGS) || [ $$? = 5 ]
	@$(ISOLATE) $(RUN) -m pytest tests notebooks xlib --nbmake --nbmake-timeout=600 --doctest-modules \
		-n $(WORKERS) --maxprocesses=8 --dist=loadgroup $(ARGS)

site:
	$(SETUP) --extras site --optional speech
	@$(RUN) tools/build_site.py $(ARGS)

handouts:
	$(SETUP)
	@$(RUN) tools/handouts.py $(ARGS)

slides:
	$(SETUP) --extras site --optional speech
	@$(RUN) tools/slides.py $(ARGS)

bench:
	$(SETUP) --extras test,browser,bench
	@$(RUN) tests/benchmarks/run.py $(ARGS)

results:
	$(SETUP) --optional speech
	@$(RUN) tools/results.py $(ARGS)

paper:
	$(SETUP)
	@$(RUN) tools/paper.py $(ARGS)

# The name reaches the shell as a variable, so that it may hold blanks.
challenge:
	$(SETUP)
	@$(RUN) tools/challenge.py "$$SUBMISSION" $(ARGS)

picture:
	$(SETUP) --extras browser --optional speech
	@$(RUN) tools/picture.py $(ARGS)

times:
	$(SETUP) --extras test --optional speech
	@$(RUN) tools/measure_lessons.py $(ARGS)

links:
	$(SETUP)
	@$(RUN) tools/sync_links.py $(ARGS)

clean-notebooks:
	$(SETUP)
	@$(RUN) tools/clean_notebooks.py $(ARGS)

constraints:
	$(SETUP) --extras test,browser,bench
	@$(RUN) tools/freeze_constraints.py
