# Makes $REPORT the one comment of mlbuild on pull request $NUMBER of $REPOSITORY: edits the comment
# that begins with the report's first line, or adds it. Where it may not, it says so and all is well.
set -eu

give_up() {
  echo "::notice::the report is not a comment: the token of this job may not write any"
  exit 0
}

if [ ! -s "$REPORT" ]; then
  echo "there is no report to show"
  exit 0
fi
marker=$(head -n 1 "$REPORT")
case $marker in
"<!-- mlbuild ci "*" -->") ;;
*)
  echo "::warning::$REPORT does not begin with the marker of a comment"
  exit 0
  ;;
esac
comments=repos/$REPOSITORY/issues/$NUMBER/comments
found=$(gh api --paginate "$comments?per_page=100" \
  --jq ".[] | select(.body | startswith(\"$marker\")) | .id") || give_up
first=$(printf '%s\n' "$found" | head -n 1)
if [ -n "$first" ]; then
  gh api --silent --method PATCH "repos/$REPOSITORY/issues/comments/$first" --field "body=@$REPORT" || give_up
else
  gh api --silent --method POST "$comments" --field "body=@$REPORT" || give_up
fi
