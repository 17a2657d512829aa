# For shells that were not started through the sprite's API, such as those of sshd or su: `. /.sprite/etc/profile.d/sprite.sh`.
case :$PATH: in
  *:/.sprite/bin:*) ;;
  *) export PATH="$PATH:/.sprite/bin" ;;
esac
export BROWSER="${BROWSER:-/.sprite/bin/sprite-browser}"
