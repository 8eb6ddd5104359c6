# Fuzz targets: what reads text or bytes that others wrote.

FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: require-go ## Run every fuzz target for a time, one after the other (FUZZTIME, RUN, PKG)
	@hack/fuzz.sh '$(FUZZTIME)' '$(or $(RUN),.)' $(PKG)
