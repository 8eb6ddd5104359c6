# The cluster lab: docs/testing-lab.md. Several labs: make lab-up CSI_DM_LAB=mine.
# The flags are those that the lab builds itself with, so that nothing is compiled twice.
LAB = CGO_ENABLED=0 go run -trimpath ./test/lab/cmd/lab

.PHONY: lab-up
lab-up: require-go lab-packages ## Bring up a Kubernetes cluster with two nodes that have dm-thin
	@$(LAB) up

.PHONY: lab-down
lab-down: require-go ## Take the lab down, the nodes' disks included
	@$(LAB) down

.PHONY: lab-status
lab-status: require-go ## Show the lab's components, nodes and where their logs are
	@$(LAB) status

.PHONY: lab-test
lab-test: lab-programs ## Test the lab itself: power cuts, added nodes, Services, logs, exec, images
	@hack/install-debian.sh images
	@go test -tags e2e -count 1 -p 1 -timeout 30m -v ./test/lab/...

# bin/lab is for everything else: bin/lab exec node-a -- dmsetup ls
.PHONY: lab
lab: require-go ## Build bin/lab, the command for nodes, images, kubectl
	@CGO_ENABLED=0 go build -trimpath -o bin/lab ./test/lab/cmd/lab

# Kubernetes and the other programs of a lab, built before a test's deadline begins.
.PHONY: lab-programs
lab-programs: require-go lab-packages
	@$(LAB) build

.PHONY: lab-packages
lab-packages:
	@hack/install-debian.sh lab
