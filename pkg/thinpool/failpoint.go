package thinpool

// Failpoint is a place between two steps of an operation at which a crash has a consequence of its own. Tests kill the
// process there; production code passes through.
type failpoint string

const (
	failMakeLabelled      failpoint = "make: labels say creating"
	failMakeRegistryEmpty failpoint = "make: registry formatted"
	failMakeRegistry      failpoint = "make: registry made"
	failMakeCleared       failpoint = "make: metadata superblock cleared"
	failMakePool          failpoint = "make: metadata formatted"
	failMakeOneReady      failpoint = "make: all labels but the first say ready"
	failBaseIntent        failpoint = "base: intent durable"
	failBaseThin          failpoint = "base: thin device made"
	failBaseFormatted     failpoint = "base: formatted"
	failBaseDone          failpoint = "base: result riding"
	failBaseDeleting      failpoint = "base: deletion durable"
	failBaseDeleted       failpoint = "base: thin device deleted"
	failCreateIntent      failpoint = "create: intent durable"
	failCreateThin        failpoint = "create: thin device made"
	failCreateDone        failpoint = "create: result riding"
	failDeleteInactive    failpoint = "delete: deactivated"
	failDeleteIntent      failpoint = "delete: intent durable"
	failDeleteThin        failpoint = "delete: thin device deleted"
	failDeleteDone        failpoint = "delete: result riding"
	failUpgradeLabels     failpoint = "upgrade: all labels but the first upgraded"
	failUpgradeLabelled   failpoint = "upgrade: labels upgraded"
	failUpgradeDone       failpoint = "upgrade: registry upgraded"
	failRecoverAdopted    failpoint = "recover: devices adopted"
	failRecoverHeld       failpoint = "recover: metadata snapshot held"
	failRecoverBases      failpoint = "recover: intents of bases finished"
	failRecoverVolumes    failpoint = "recover: intents of volumes finished"
)

// failpoints are all of them, for tests to visit.
var failpoints = []failpoint{
	failMakeLabelled, failMakeRegistryEmpty, failMakeRegistry, failMakeCleared, failMakePool, failMakeOneReady,
	failBaseIntent, failBaseThin, failBaseFormatted, failBaseDone, failBaseDeleting, failBaseDeleted,
	failCreateIntent, failCreateThin, failCreateDone,
	failDeleteInactive, failDeleteIntent, failDeleteThin, failDeleteDone,
	failUpgradeLabels, failUpgradeLabelled, failUpgradeDone,
	failRecoverAdopted, failRecoverHeld, failRecoverBases, failRecoverVolumes,
}

// reached is what tests replace, before they open a pool.
var reached = func(failpoint) {}
