.PHONY: run test lint audit fix docs tables shots bench bench-gpu bench-small pretrain

run:            ## the app on http://127.0.0.1:7860
	python app.py

test:           ## everything, under 8 minutes on two cores
	python -m pytest

lint:           ## style, types, import laws, generated docs
	ruff check . && ruff format --check . && mypy && lint-imports --no-cache && cog --check README.md docs/*.md

AUDIT ?= /tmp/palate-audit

audit:          ## what is known against the installed packages (docs/advisories.md); "not found" means: nobody answered
	python -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet pip-audit
	python -m pip list --format freeze | sed 's/+.*//' > $(AUDIT)/installed.txt
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(AUDIT)/installed.txt

fix:            ## what can be mended by a program
	ruff check --fix . && ruff format .

docs tables:    ## write the generated parts of README and docs anew, tables and plots of docs/results.md among them
	PYTHONPATH=. cog -r README.md docs/*.md
	python -m studies.benchmarks.reliability docs/images

shots:          ## the screenshots of the README, taken by the browser test
	PALATE_SHOTS=docs/images python -m pytest -n0 tests/test_browser.py -k walk

bench:          ## start, first pair, votes, memory; then 100 kills
	python -m studies.benchmarks speed --json
	python -m studies.benchmarks crash --json

DATA ?= ../shared/data
LAMP ?= $(DATA)/lamp2_like
OUT ?= palate-bench
SEEDS ?= 3
TRAINED ?= all
PROCESSES ?= 1
FLAGS = --work $(OUT)/work --json --seeds $(SEEDS) $(if $(MODEL),--model $(MODEL))
PLAIN = random,popularity,own texts,people's own,random jokes,none,history,e2p-1

bench-gpu:      ## the offline benchmarks on an accelerator with MODEL, of 1 to 8 billion parameters, and the tables: results
                ## and what a rerun goes on from in OUT, of DATA, with STATES for it of `python -m engine learn` from
                ## POPULATIONS; LIMIT of those who are judged, RATERS for whom is written, SEEDS, TRAINED rows, STEPS
                ## of recommenders, TAUGHT texts make it smaller; PROCESSES share the rows of each, but not what these learn. One that fails does
                ## not stop the rest
	mkdir -p $(OUT)
	@failed=0; trap 'kill $$helpers 2>/dev/null; exit 130' INT TERM; \
	one() { \
		name=$$1; helpers=; shift; \
		n=1; while [ $$n -lt $(PROCESSES) ]; do \
			n=$$((n + 1)); python -m studies.benchmarks $$name $(FLAGS) "$$@" >/dev/null 2>$(OUT)/$$name.$$n.log & \
			helpers="$$helpers $$!"; \
		done; \
		python -m studies.benchmarks $$name $(FLAGS) "$$@" >$(OUT)/$$name.part || { failed=1; echo "$$name failed" >&2; }; \
		if [ -s $(OUT)/$$name.part ]; then mv $(OUT)/$$name.part $(OUT)/$$name.json; else rm $(OUT)/$$name.part; fi; \
		wait; \
	}; \
	one jester --data $(DATA)/jester $(if $(LIMIT),--limit $(LIMIT)); \
	one humour --data $(DATA) $(if $(LIMIT),--limit $(LIMIT)) $(if $(TAUGHT),--taught $(TAUGHT)); \
	one lamp --data $(LAMP) $(if $(LIMIT),--limit $(LIMIT)) $(if $(TRAINED),--trained "$(TRAINED)"); \
	one generation --data $(DATA)/jester $(if $(RATERS),--limit $(RATERS)) $(if $(STATES),--states $(STATES)) \
		$(if $(POPULATIONS),--populations $(POPULATIONS)) $(if $(TRAINED),,--methods "$(PLAIN)"); \
	$(if $(TRAINED),one movielens --data $(DATA)/movielens_100k $(if $(LIMIT),--limit $(LIMIT)) $(if $(STEPS),--steps $(STEPS)); \
	one ctr --data $(DATA)/jester $(if $(LIMIT),--limit $(LIMIT)) $(if $(STEPS),--steps $(STEPS));) \
	python -m studies.benchmarks tables $(OUT) && exit $$failed

bench-small:    ## the same, 50 are judged (for 4 is written) with one seed, and no rows that learn; two processes of one
                ## thread share two cores better than two threads of one, and far better than two of two
	OMP_NUM_THREADS=1 $(MAKE) bench-gpu LIMIT=50 RATERS=4 SEEDS=1 TRAINED= TAUGHT=1000 PROCESSES=2

WORK ?= /tmp/palate-pretrain
JOKES = $(DATA)/rjokes/dev.csv.gz $(DATA)/short_jokes/jokes.csv.gz $(DATA)/stupidstuff/jokes.csv.gz
PEOPLE = python -m engine.pretrained.population --jester $(DATA)/jester --jokes $(JOKES)

pretrain:       ## the states that the first run needs, from DATA; about 17 minutes a method on one core. The soft tokens
                ## are for --base none: over the task-adapted model they gain nothing (log 2026-11-25)
	mkdir -p $(WORK)
	$(PEOPLE) --out $(WORK)/train.jsonl
	$(PEOPLE) --out $(WORK)/heldout.jsonl --held-out --people 300 --jester-people 300
	python -m engine learn tam --population $(WORK)/train.jsonl --held-out $(WORK)/heldout.jsonl \
		--out $(WORK) --steps 300 --lr 1e-3 --evaluate-every 60 --seconds 1500
	python -m engine learn e2p topics persoma cross_attention --base none --population $(WORK)/train.jsonl \
		--held-out $(WORK)/heldout.jsonl --out $(WORK) --steps 280 --evaluate-every 70 --seconds 1000
	python -m engine.pretrained.ship $(WORK) --population $(WORK)/train.jsonl --held-out $(WORK)/heldout.jsonl
	python -m engine.pretrained.memorised --population $(WORK)/train.jsonl --held-out $(WORK)/heldout.jsonl
