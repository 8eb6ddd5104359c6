package bench

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	lvmID       = regexp.MustCompile(`(?m)^(\t\t\tid = ")[^"]*(")$`)
	lvmDeviceID = regexp.MustCompile(`(?m)^(\t+device_id = )(\d+)$`)
)

// copyVolumes puts count copies of a thin volume into LVM's metadata in its text form (vgcfgbackup(8)), each with a uuid and
// a thin id of its own, and returns these ids, which the pool does not hold yet.
func copyVolumes(text, volume string, count int, name func(i int) string) (copied string, ids []int, err error) {
	begin := strings.Index(text, "\n\t\t"+volume+" {\n")
	if begin < 0 {
		return "", nil, fmt.Errorf("the metadata has no volume %s", volume)
	}
	begin++
	length := strings.Index(text[begin:], "\n\t\t}\n")
	if length < 0 {
		return "", nil, fmt.Errorf("the metadata of %s has no end", volume)
	}
	end := begin + length + len("\n\t\t}\n")
	original := text[begin:end]
	if !lvmID.MatchString(original) || !lvmDeviceID.MatchString(original) {
		return "", nil, fmt.Errorf("the metadata of %s has no id or no device_id", volume)
	}
	next := 0
	for _, match := range lvmDeviceID.FindAllStringSubmatch(text, -1) {
		id, err := strconv.Atoi(match[2])
		if err != nil {
			return "", nil, err
		}
		next = max(next, id+1)
	}
	var b strings.Builder
	b.WriteString(text[:end])
	for i := range count {
		one := strings.Replace(original, volume+" {", name(i)+" {", 1)
		one = lvmID.ReplaceAllString(one, "${1}"+lvmUUID()+"${2}")
		one = lvmDeviceID.ReplaceAllString(one, "${1}"+strconv.Itoa(next+i))
		b.WriteString("\n" + one)
		ids = append(ids, next+i)
	}
	b.WriteString(text[end:])
	return b.String(), ids, nil
}

// lvmUUID is 32 random letters in LVM's groups.
func lvmUUID() string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	for i, b := range random {
		random[i] = letters[int(b)%len(letters)]
	}
	s := string(random)
	return strings.Join([]string{s[:6], s[6:10], s[10:14], s[14:18], s[18:22], s[22:26], s[26:]}, "-")
}
