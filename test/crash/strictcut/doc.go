// Package strictcut has the test of strict cuts: what a pool is after a power cut if its disk forgets all that it was not told to
// keep. See package crash.
package strictcut
