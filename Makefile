# Each target sets up what it needs; nothing is installed outside .venv but, for a rehearsal, an OpenSSH server, and for the tests the participants' programs.
.PHONY: help setup rehearse rehearse-down test test-machine check preview preview-changed preview-live screenshots soak format bench pulumi lock clean
.DEFAULT_GOAL := help

PYTHON ?= python3
PARTICIPANTS ?=
STACK ?=
AGAINST ?=
FAIL_ON_REPLACE ?=
FORM ?=
CLOUD ?=
SETUP = PYTHON='$(PYTHON)' sh rehearsal/setup.sh
REHEARSAL = requirements.txt requirements-rehearsal.txt
CLOUDS = requirements-clouds.txt
ALL = $(REHEARSAL) $(CLOUDS) requirements-dev.txt
SHELL_FILES = provisioning/scripts/*.sh provisioning/pack/*.sh provisioning/pack/*.command rehearsal/setup.sh preview/live.sh bench/fleet/job.sh .ci/run

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

setup: ## what the organiser needs to work by hand, the SDKs of the clouds included, without running anything
	@$(SETUP) $(REHEARSAL) $(CLOUDS) --sshd

rehearse: ## the whole seminar on this computer (PARTICIPANTS=50 for a full class)
	@$(SETUP) $(REHEARSAL) --sshd
	@.venv/bin/python -m rehearsal up $(if $(PARTICIPANTS),--participants '$(PARTICIPANTS)')

rehearse-down: ## end the rehearsal and remove what it made
	@$(SETUP) $(REHEARSAL)
	@.venv/bin/python -m rehearsal down

test: ## every test that can run here
	@$(SETUP) $(ALL) --sshd --test-tools
	@.venv/bin/python -m pytest -n 3 --dist loadgroup

test-machine: ## boot real virtual machines: cloud-init, systemd, a reboot (half an hour; before a release)
	@$(SETUP) $(ALL) --sshd --machine
	@SEMINAR_MACHINE=1 .venv/bin/python -m pytest -v -s --durations=0 --durations-min=0.5 tests/machine

check: ## formatting, lint, types, shell
	@$(SETUP) $(ALL)
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/shellcheck $(SHELL_FILES)

preview: ## what a seminar would be, with no account and no CLI (STACK=aws-example AGAINST=main FORM=--json)
	@$(SETUP) $(REHEARSAL) $(CLOUDS) >&2
	@.venv/bin/python -m preview '$(STACK)' $(if $(AGAINST),--against '$(AGAINST)') $(if $(FAIL_ON_REPLACE),--fail-on-replace) $(FORM)

preview-changed: ## the same of every seminar that differs from AGAINST
	@$(SETUP) $(REHEARSAL) $(CLOUDS) >&2
	@.venv/bin/python -m preview --changed --against '$(AGAINST)' $(if $(FAIL_ON_REPLACE),--fail-on-replace) $(FORM)

preview-live: ## `pulumi preview` of each that differs from AGAINST, with the credentials that are here (CLOUD=aws or azure)
	@$(SETUP) $(REHEARSAL) $(CLOUDS) >&2
	@sh preview/live.sh '$(AGAINST)' '$(CLOUD)'

soak: ## an hour of class in ten minutes, fifty real seats and much that goes wrong (SOAK="--seats 8 --minutes 2" for less)
	@$(SETUP) $(ALL) --sshd --test-tools
	@.venv/bin/python -m tests.soak $(SOAK)

screenshots: ## the pictures of docs/participants.md and docs/board.md, taken anew
	@$(SETUP) $(ALL) --test-tools
	@SEMINAR_SCREENSHOTS=1 .venv/bin/python -m pytest -q tests/provisioning/test_page.py tests/provisioning/test_board_page.py -k picture

format: ## format the code
	@$(SETUP) $(ALL)
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: ## measure, side by side
	@$(SETUP) $(ALL) --sshd
	@.venv/bin/python -m bench

pulumi: ## install the Pulumi CLI into .venv with its own installer
	@$(SETUP) $(REHEARSAL)
	@.venv/bin/python -m rehearsal.install_pulumi

lock: ## pin the requirements anew from the .in files
	@$(SETUP) $(ALL)
	@.venv/bin/python -m pip install --quiet uv
	@for name in requirements requirements-rehearsal requirements-clouds requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate \
	    --output-file $$name.txt $$name.in || exit; done

clean: rehearse-down ## also remove .venv
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
