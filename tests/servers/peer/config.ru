# For puma, which tells the address only: who asks.
run ->(env) { [200, { 'Content-Type' => 'text/plain' }, ["#{env['REMOTE_ADDR']} -\n"]] }
