# TCPServer as it comes. HOST and PORT from the environment.
require 'socket'

slot = ENV.fetch('FORKFRONT_SLOT', '-')
server = TCPServer.new(ENV.fetch('HOST', '127.0.0.1'), Integer(ENV.fetch('PORT')))
loop do
  client = server.accept
  begin
    path = client.gets.to_s.split[1].to_s
    nil until client.gets.to_s.strip.empty?
    body = "#{slot} #{Process.pid} #{path[1..]}\n"
    client.write "HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}"
  rescue SystemCallError
    # the client has gone
  ensure
    client.close
  end
end
