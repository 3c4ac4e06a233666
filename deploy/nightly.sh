#!/usr/bin/env bash
# One night's run: the bundle proves itself on this machine, then the folder is classified. For the systemd unit beside it.
#
#   BUNDLE SCANS OUT                       folders, needed
#   RUNTIME DEVICE PRECISION FORMATS       as the options of `lits-deploy classify`; ENGINE_CACHE too
#   LOG_FORMAT LOG_FILE METRICS            likewise, for both commands; METRICS/ is a folder: verify.prom, classify.prom
#   LITS_DEPLOY                            the program, if it is not on the path
#
# Exit codes: those of `lits-deploy` (see its --help): 0 done, 2 an error you can fix, 3 the bundle does not hold here,
# 70 a bug, 129, 130 or 143 stopped: the next start goes on. Some files failed (rows with reasons): 4, not 1, for 1 is
# also what Python ends with where it cannot start.
set -euo pipefail

program=${LITS_DEPLOY:-lits-deploy}
for name in BUNDLE SCANS OUT; do
    if [[ -z ${!name:-} ]]; then
        echo "nightly.sh: $name is not set. Fix: name a folder in nightly.env" >&2
        exit 2
    fi
done

cache=()
[[ -z ${ENGINE_CACHE:-} ]] || cache=(--engine-cache "$ENGINE_CACHE")
logs=()
[[ -z ${LOG_FORMAT:-} ]] || logs+=(--log-format "$LOG_FORMAT")
[[ -z ${LOG_FILE:-} ]] || logs+=(--log-file "$LOG_FILE")
metrics() { [[ -z ${METRICS:-} ]] || metrics_options=(--metrics "$METRICS/$1.prom"); }
metrics_options=()
export LITS_DEPLOY_UNATTENDED=1
metrics verify
"$program" verify "$BUNDLE" "${cache[@]}" "${logs[@]}" "${metrics_options[@]}"

options=(--out "$OUT" --runtime "${RUNTIME:-auto}" --device "${DEVICE:-auto}" --format "${FORMATS:-csv}" "${cache[@]}")
[[ -z ${PRECISION:-} ]] || options+=(--precision "$PRECISION")
metrics classify
exec "$program" classify "$BUNDLE" "$SCANS" "${options[@]}" "${logs[@]}" "${metrics_options[@]}"
