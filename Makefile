# Every target that needs something installs it first. `make` alone lists the targets.
.PHONY: help up down test soak deps check format demo bench soak-real soak-many sdks doctor image clean

node := bin/node24

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: deps ## starts the server in the foreground, in the place of one that runs; installs and builds what is missing (IMAGE=dev, LISTEN=, DATA=)
	@exec tools/up.sh

down: deps ## ends the server of `make up`, and puts its sprites to sleep (DATA=)
	@exec tools/up.sh down

test: deps check ## checks, then all tests under a watchdog (T=pattern: only files whose path has it)
	-@tools/deps.sh --tests
	@exec $(node) tools/run-tests.ts $(if $(T),--only '$(T)')

deps: ## installs what is missing: Debian packages, Node 24, libraries
	@tools/deps.sh

check: deps ## types, lint, format, arrows between rooms, dead code, tidiness
	@exec $(node) tools/check.ts

format: deps ## formats the code
	@exec node_modules/.bin/oxfmt src test bench tools images

demo: deps ## wrecks a sprite three ways and restores it, with times
	@exec $(node) test/demo.ts

soak: deps ## simulated worlds for an hour, or until one goes wrong (SECONDS=3600)
	@exec $(node) tools/soak.ts --seconds $(or $(SECONDS),3600)

bench: deps ## measurements beside their peers, one JSON object a line (ROWS=disk,cold: only rows that begin so)
	@exec $(node) bench/run.ts $(if $(ROWS),--only '$(ROWS)')

soak-real: deps ## kills, random operations and bad stores on the real stack for long, with figures (KILLS=200, SECONDS=600, SEED=, ONLY=)
	-@tools/deps.sh --tests
	@exec $(node) tools/soak-real.ts $(if $(KILLS),--kills $(KILLS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

soak-many: deps ## hundreds of sprites on this machine, most of them cold, and a storm of wakes (COLD=180, WARM=15, RUNNING=5, STORM=50, REST=60 seconds)
	-@tools/deps.sh --tests
	@exec $(node) tools/soak-many.ts $(if $(COLD),--cold $(COLD)) $(if $(WARM),--warm $(WARM)) $(if $(RUNNING),--running $(RUNNING)) $(if $(STORM),--storm $(STORM)) $(if $(REST),--rest $(REST))

sdks: deps ## official SDKs of other languages against a server of this repository (PYTHON=version,... JAVASCRIPT=version,...)
	@exec $(node) tools/sdks/run.ts $(if $(PYTHON),--python $(PYTHON)) $(if $(JAVASCRIPT),--javascript $(JAVASCRIPT))

doctor: deps ## says whether this machine can run sprites, how isolated, and what to do about what is missing
	@exec $(node) tools/doctor.ts

image: deps ## builds the standard image unless it is there (IMAGE=dev or minimal)
	@exec $(node) images/build.ts $(if $(IMAGE),--image $(IMAGE))

clean: ## removes installed modules; keeps data (/var/lib/opensprites) and built images (/var/cache/opensprites)
	rm -rf node_modules coverage
