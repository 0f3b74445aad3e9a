# Installs mlbuild ($INPUT_PACKAGE) as a tool of uv, and what its sandbox takes.
set -eu

if ! command -v bwrap >/dev/null 2>&1; then
  { sudo apt-get update -qq && sudo apt-get install -y -qq bubblewrap; } >/dev/null 2>&1 ||
    echo "::warning::bubblewrap cannot be installed: actions run without a sandbox"
fi
# Some distributions keep programs from making the namespaces that a sandbox is made of.
restriction=kernel.apparmor_restrict_unprivileged_userns
if [ "$(sysctl -n "$restriction" 2>/dev/null || echo 0)" = 1 ]; then
  sudo sysctl -q -w "$restriction=0" || echo "::warning::$restriction cannot be changed"
fi
uv tool install --quiet --force "$INPUT_PACKAGE"
uv tool dir --bin >>"$GITHUB_PATH"
