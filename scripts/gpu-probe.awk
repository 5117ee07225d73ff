# Reads a probe's data, then the output of its commands in order, and prints a line per GPU: see scripts/gpu-probe.

# Splits a line of CSV into cell[1..]: quoted cells may contain commas, and so may lists in brackets.
function cells(line,    i, c, depth, quoted, text, n) {
  n = 0; depth = 0; quoted = 0; text = ""
  sub(/\r$/, "", line)
  for (i = 1; i <= length(line); i++) {
    c = substr(line, i, 1)
    if (c == "\"") { quoted = !quoted; continue }
    if (!quoted && (c == "[" || c == "{")) depth++
    if (!quoted && (c == "]" || c == "}")) depth--
    if (c == "," && !quoted && depth <= 0) { cell[++n] = trimmed(text); text = ""; continue }
    text = text c
  }
  cell[++n] = trimmed(text)
  return n
}
function trimmed(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }
# A number without its unit; empty for N/A, lists and whatever else is no number.
function number(text) {
  if (match(text, /^-?[0-9]+(\.[0-9]+)?/) == 0) return ""
  text = substr(text, 1, RLENGTH)
  return text
}
function put(index_, field, text,    value) {
  if (field == "") return
  if (field != "index" && !(index_ in seen)) { seen[index_] = 1; order[++gpus] = index_ }
  value = text
  if (field ~ /^(used|total|utilization|power|clock|temperature)$/) {
    value = number(text)
    if (value != "" && (field in factor)) value = value * factor[field]
    # Drivers report 0 W for parts of a GPU and for meters that they cannot read, and 0 MiB in total for neither.
    if ((field == "power" || field == "total" || field == "clock" || field == "temperature") && value + 0 <= 0) value = ""
  } else if (text == "N/A" || text ~ /^[\[{]/) value = ""
  if (value != "") known[index_, field] = value
}

FNR == 1 { file++ }
# The data: `command WORDS`, `format csv|table`, `column FIELD HEADER [FACTOR]`, `cell FIELD LINE BAR PART [FACTOR]`, `name TEXT`.
file == 1 {
  if ($0 ~ /^#/ || NF == 0) next
  if ($1 == "command") { source++; format[source] = "csv"; next }
  if ($1 == "format") { format[source] = $2; next }
  if ($1 == "name") { fixed_name = substr($0, index($0, $2)); next }
  if ($1 == "column") {
    split($0, part, "\t")
    wanted[source, tolower(part[3])] = part[2]
    if (part[4] != "") factor[part[2]] = part[4]
    next
  }
  if ($1 == "cell") {
    split($0, part, "\t")
    k = ++count[source]
    cell_field[source, k] = part[2]; cell_line[source, k] = part[3]; cell_bar[source, k] = part[4]; cell_part[source, k] = part[5]
    next
  }
  print "gpu-probe: unknown word " $1 " in line " FNR > "/dev/stderr"; broken = 1; exit 2
}
FNR == 1 { head = 0 }
file > 1 && format[file - 1] == "csv" {
  n = cells($0)
  if (!head) {
    delete field_of
    found = 0
    for (i = 1; i <= n; i++) if (((file - 1), tolower(cell[i])) in wanted) { field_of[i] = wanted[(file - 1), tolower(cell[i])]; found++ }
    # Warnings may come before the head.
    if (found > 1) { head = 1; columns = n }
    next
  }
  at = ""
  for (i = 1; i <= n; i++) if (field_of[i] == "index") at = number(cell[i])
  if (at == "") next
  if (n != columns) { print "gpu-probe: " n " cells instead of " columns " in: " $0 > "/dev/stderr"; broken = 1; exit 2 }
  put(at, "index", at)
  seen_index(at)
  for (i = 1; i <= n; i++) if (field_of[i] != "index") put(at, field_of[i], cell[i])
}
# Boxes: two lines for each device, cells between bars, parts of a cell between spaces; `/` separates used and total.
file > 1 && format[file - 1] == "table" {
  if (ended) next
  if ($0 ~ /^\+=+/) { body = 1; row = 0; next }
  if ($0 ~ /^\+-+/) { row = 0; next }
  # A second box lists processes.
  if ($0 ~ /Process/) { ended = 1; next }
  if (!body || $0 !~ /^\|/) next
  row++
  split($0, bar, "|")
  if (row == 1) { split(trimmed(bar[2]), first, " +"); at = first[1]; if (at !~ /^[0-9]+$/) { row = 0; next }; seen_index(at) }
  s = file - 1
  for (k = 1; k <= count[s]; k++) if (cell_line[s, k] == row) {
    text = trimmed(bar[cell_bar[s, k] + 1])
    gsub(/ *\/ */, "/", text)
    m = split(text, word, " +")
    p = cell_part[s, k]
    split(p, sub_part, "/")
    value = word[sub_part[1]]
    if (sub_part[2] != "") { split(value, two, "/"); value = two[sub_part[2]] }
    put(at, cell_field[s, k], value)
  }
  if (row == 2) row = 0
}
function seen_index(at) { if (!(at in seen)) { seen[at] = 1; order[++gpus] = at } }
END {
  if (broken) exit 2
  if (gpus == 0) { print "gpu-probe: no GPU in the output" > "/dev/stderr"; exit 2 }
  for (i = 1; i <= gpus; i++) {
    at = order[i]
    if (!((at, "used") in known)) { print "gpu-probe: the memory in use of GPU " at " is unknown" > "/dev/stderr"; exit 2 }
    id = known[at, "id"] == "" ? "GPU-" at : known[at, "id"]
    name = known[at, "name"] == "" ? fixed_name : known[at, "name"]
    gsub(/,/, " ", name)
    printf "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s\n", at, id, name, known[at, "used"], known[at, "total"], known[at, "utilization"], \
      known[at, "power"], known[at, "clock"], known[at, "temperature"], known[at, "throttle"], known[at, "driver"]
  }
}
