# From the lines of `cargo tree --format '{p}|{l}|{r}'`, sorted, to a CycloneDX list of components.
#   $name, $version: of this package; $sums: lines NAME|VERSION|SHA-256 of Cargo.lock; $time: of the commit

def license: if . == "" then {} else {licenses: [{expression: gsub("/"; " OR ")}]} end;

($sums | split("\n") | map(split("|") | {key: "\(.[0]) \(.[1])", value: .[2]}) | from_entries) as $hashes
# `name vVERSION`, and behind it a path or `(proc-macro)`.
| split("\n") | map(select(. != "") | split("|") | (.[0] | split(" ")) as $id
    | {name: $id[0], version: $id[1][1:], license: (.[1] // ""), repository: (.[2] // "")})
| unique_by([.name, .version])
| (map(select(.name == $name)) | first) as $own
| map(select(.name != $name)
    | "pkg:cargo/\(.name)@\(.version)" as $purl
    | {type: "library", "bom-ref": $purl, name, version}
      + {hashes: [{alg: "SHA-256", content: ($hashes["\(.name) \(.version)"] // error("Cargo.lock has no checksum of \(.name)"))}]}
      + (.license | license) + {purl: $purl}
      + if .repository == "" then {} else {externalReferences: [{type: "vcs", url: .repository}]} end)
| {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: $time,
      component: ({type: "application", "bom-ref": $name, name: $name, version: $version} + ($own.license | license))
    },
    components: .,
    dependencies: [{ref: $name, dependsOn: map(."bom-ref")}]
  }
