#!/usr/bin/env bash
# The papers' CIFAR-10 tables on a GPU, in calls of at most 12 minutes. The same call again continues.
#
#   benchmarks/papers_on_gpu.sh runs/gpu data/cifar10          # until it says that all has finished
#   benchmarks/papers_on_gpu.sh runs/gpu data/cifar10 lgm      # only the parts whose names begin with lgm
#   benchmarks/papers_on_gpu.sh --list                         # the parts and their commands
#
# A part is one `faceverif experiment`: rows of a table, one seed. The first four are L-GM's Table 2. Four parts train at
# the same time, since a small network leaves most of a large GPU idle. Images stay on the device as uint8 and are
# augmented there; steps are in bf16, channels last, and recorded as CUDA graphs; where that fails, a warning in the
# part's log says so, and the steps run as written. The column images_per_s of a run's metrics.csv is its speed: 50,000
# over it is the time of an epoch. At the end stands how far each part is.
#
# A part that is stopped saves after its current step, also where this script is killed (on Linux). One that is killed
# itself loses the epoch that it was in.
#
# Exit code: 0 all has finished; 75 time is up, and the same call continues; 1 a part failed, and its log is named.
#
# From the environment:
#   LIMIT_S     seconds of a call: 690, so that half a minute is left for the last checkpoints
#   TOGETHER    parts that train at the same time: 4
#   DEVICE      of `faceverif`: cuda
#   SETTINGS    more options for every part, as in SETTINGS="--set common.training.epochs=2"
#   FACEVERIF   how `faceverif` is called: "python -m faceverif"
set -fuo pipefail # brackets in options are no patterns of file names

readonly again=75
root=$(cd "$(dirname "$0")/.." && pwd)
limit_s=${LIMIT_S:-690} together=${TOGETHER:-4} device=${DEVICE:-cuda}
read -r -a faceverif <<< "${FACEVERIF:-python -m faceverif}"
read -r -a settings <<< "${SETTINGS:-}"
# Linux then asks a part to stop, should this script be killed.
tied=()
if command -v setpriv > /dev/null; then tied=(setpriv --pdeathsig TERM); fi

# Name of a part, its config below configs/cifar10, and what its command has besides.
parts() {
  local row one_seed
  one_seed=$(printf -- '--set methods.%s.seeds=[0] ' 0 1 2 3)
  for row in softmax softmax+center l-softmax l-gm-0.3; do
    echo "lgm-$row lgm_table2 --only resnet20 --only $row $one_seed"
  done
  echo "wsoftmax wsoftmax_table2"
  echo "gsc gsc_table1"
  echo "snr snr_table1"
  echo "improved improved"
}

# Sets `command` to that of a part: its config, and what `parts` has besides.
set_command() {
  local config=$1
  shift
  command=(
    "${faceverif[@]}" experiment "$root/configs/cifar10/$config.yaml" --out "$out/$config" --device "$device"
    --set "common.data.path=$data" --set common.training.precision=bf16-mixed --set common.training.compile=true
    --set common.training.evaluate_every_epochs=10 "$@" ${settings[@]+"${settings[@]}"}
  )
}

# Sets `command` to that of a part, and `mark` to the file that says that it has finished.
set_mark() {
  local name=$1
  set_command "${@:2}"
  mark=$out/finished/$name-$(printf '%s\n' "${command[@]}" | cksum | cut -d ' ' -f 1)
}

# Starts a part, unless it has finished with the same command, or the time is up.
begin() {
  local name=$1 left=$((deadline - SECONDS)) mark
  set_mark "$@"
  if [ -e "$mark" ]; then
    echo "$name: finished before"
  elif [ "$left" -le 0 ]; then
    echo "$name: no time is left"
    note "$again"
  else
    echo "$name: begins, $left s are left"
    ${tied[@]+"${tied[@]}"} timeout --signal=TERM --kill-after=25 "$left" "${command[@]}" > "$out/logs/$name.log" 2>&1 &
    name_of[$!]=$name mark_of[$!]=$mark
  fi
}

# Reports the parts that have ended since the last look.
reap() {
  local pid code name
  for pid in "${!name_of[@]}"; do
    kill -0 "$pid" 2> /dev/null && continue
    wait "$pid"
    code=$? name=${name_of[$pid]}
    unset "name_of[$pid]"
    case $code in
      0) touch "${mark_of[$pid]}" && echo "$name: finished" ;;
      124 | 130 | 143) echo "$name: stopped, the next call continues it" && note "$again" ;;
      *) echo "$name: failed: $(tail -n 1 "$out/logs/$name.log") (all of it: $out/logs/$name.log)" && note 1 ;;
    esac
  done
}

# Says how far each chosen part is: by its log, where it has not finished.
tell_standing() {
  local name config more mark log run at
  while read -r name config more; do
    case $name in "$chosen"*) ;; *) continue ;; esac
    log=$out/logs/$name.log
    # shellcheck disable=SC2086  # its words are arguments
    set_mark "$name" "$config" $more
    run=$(grep -hE ', [0-9]+ of [0-9]+$' "$log" 2> /dev/null | tail -n 1)
    at=$(grep -hE '^epoch [0-9]+/' "$log" 2> /dev/null | tail -n 1)
    if [ -e "$mark" ]; then
      echo "  $name: finished"
    elif [ -n "$run" ]; then
      echo "  $name: ${run#*: } that were left; ${at:-its first epoch has begun}"
    else
      echo "  $name: not begun"
    fi
    grep -hE '^warning: ' "$log" 2> /dev/null | sort -u | sed 's/^/    /'
  done < <(parts)
}

# Keeps the worst exit code: 1, else 75, else 0.
note() {
  if [ "$worst" != 1 ]; then worst=$1; fi
}

# Waits until fewer than so many parts train.
wait_until_below() {
  reap
  while [ "${#name_of[@]}" -ge "$1" ]; do
    sleep 0.2
    reap
  done
}

# Ctrl-C, SIGTERM or a lost terminal: every part saves a checkpoint and stops.
stop() {
  deadline=0
  [ "${#name_of[@]}" = 0 ] || kill -TERM "${!name_of[@]}" 2> /dev/null
}

usage() {
  sed -n '2,/^set/p' "$root/benchmarks/papers_on_gpu.sh" | sed '$d; s/^# \{0,1\}//' >&2
  exit 2
}

if [ "${1:-}" = --list ]; then
  out=OUT data=DATA
  while read -r name config more; do
    # shellcheck disable=SC2086  # its words are arguments
    set_command "$config" $more
    echo "$name: ${command[*]}"
  done < <(parts)
  exit 0
fi
[ $# -ge 2 ] && [ $# -le 3 ] || usage
out=$1 data=$2 chosen=${3:-} deadline=$((SECONDS + limit_s)) worst=0
if [ ! -e "$data" ]; then
  echo "DATA: must hold CIFAR-10's pictures; got $data, which is not there" >&2
  exit 2
fi
known=$(parts | cut -d ' ' -f 1)
case $'\n'$known in
  *$'\n'"$chosen"*) ;;
  *) echo "PART: must be how a name begins; got $chosen. Known: ${known//$'\n'/, }" >&2 && exit 2 ;;
esac
mkdir -p "$out/finished" "$out/logs" || exit 2
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$(cd "$out" && pwd)/compiled}
declare -A name_of=() mark_of=()
trap stop HUP INT TERM
while read -r name config more; do
  case $name in "$chosen"*) ;; *) continue ;; esac
  # shellcheck disable=SC2086  # its words are arguments
  begin "$name" "$config" $more
  wait_until_below "$together"
done < <(parts)
wait_until_below 1
echo "where the parts are after $SECONDS s:"
tell_standing
case $worst in
  0) echo "all has finished: $out/*/report.html" ;;
  "$again") echo "not all has finished: the same call continues" ;;
esac
exit "$worst"
