# Runs `mlbuild ci` as the inputs of the action say; its reports lie in $RUNNER_TEMP.
set -euf # no word becomes the name of a file

reports=$RUNNER_TEMP/mlbuild
mkdir -p "$reports"
rm -f "$reports/report.md" "$reports/junit.xml"
{
  echo "report=$reports/report.md"
  echo "junit=$reports/junit.xml"
} >>"$GITHUB_OUTPUT"

set -- -C "$INPUT_FOLDER" --report "$reports/report.md" --junit "$reports/junit.xml"
if [ -n "$INPUT_BASE" ]; then
  set -- "$@" --base "$INPUT_BASE"
fi
# shellcheck disable=SC2086 - these are lists of words
exec mlbuild ci "$@" $INPUT_ARGUMENTS -- $INPUT_PATTERNS
