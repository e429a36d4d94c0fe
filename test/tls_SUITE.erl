%% SPDX-License-Identifier: Apache-2.0
%% @doc TLS of the whole server, with clients that nobody here wrote: curl, openssl, nghttp, and
%% Erlang's ssl where the handshake itself is looked at.
-module(tls_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await_idle/0]).
-import(tls_case, [options/1, start/1, run/1, curl/3, url/2, shake/2]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> tls_case:files(hornbeam_case:init_quiet_suite(Config)).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

%%% Serving

https(Config) ->
    doc("A verified certificate; HTTP/1.1 and HTTP/2 by ALPN; environ and info say https."),
    Port = start(options(Config)),
    Expected = "https HTTP/~s " ++ integer_to_list(Port) ++ " 127.0.0.1 [0]",
    ?assertEqual(lists:flatten(io_lib:format(Expected, ["1.1"])),
        curl(Config, "--http1.1", url(Port, "/about"))),
    ?assertEqual(lists:flatten(io_lib:format(Expected, ["2"])),
        curl(Config, "--http2", url(Port, "/about"))),
    ?assertMatch({match, _}, re:run(run(["nghttp ", url(Port, "/about")]), "https HTTP/2")),
    #{addresses := [Address]} = hornbeam:info(),
    ?assertEqual(iolist_to_binary(["https://127.0.0.1:", integer_to_list(Port)]), Address),
    await_idle().

https_to_asgi(Config) ->
    doc("The scope of an ASGI application says https, over HTTP/1.1 and HTTP/2."),
    Port = hornbeam_case:start("tls_app:asgi", (options(Config))#{worker_class => asgi}),
    Number = integer_to_list(Port),
    ?assertEqual("https 1.1 " ++ Number ++ " [0]",
        curl(Config, "--http1.1", url(Port, "/"))),
    ?assertEqual("https 2 " ++ Number ++ " [0]", curl(Config, "--http2", url(Port, "/"))),
    await_idle().

several_addresses(Config) ->
    doc("TLS on every address: IPv4, another port, IPv6, a Unix socket."),
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-tls-" ++ os:getpid()),
    Binds = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:0", "unix:" ++ Path],
    _ = start((options(Config))#{bind => Binds}),
    #{addresses := [_, _, Six, _] = Addresses} = hornbeam:info(),
    [?assertMatch({match, _}, re:run(curl(Config, "--insecure", [Address, "/about"]), "^https "))
        || <<"https", _/binary>> = Address <- Addresses],
    ?assertMatch(<<"https://[::1]:", _/binary>>, Six),
    ?assertMatch("https HTTP/1.1" ++ _,
        curl(Config, ["--http1.1 --unix-socket ", Path], "https://localhost/about")).

bodies(Config) ->
    doc("Bodies of any size in both directions, from memory, in pieces and out of a file, over "
        "HTTP/1.1 and HTTP/2; chunked uploads."),
    Port = start(options(Config)),
    Upload = filename:join(?config(dir, Config), "upload"),
    ok = file:write_file(Upload, binary:copy(<<"u">>, 3000000)),
    [
        begin
            Size = ["-o /dev/null -w '%{size_download}' ", Version],
            Get = fun(Path) -> curl(Config, Size, url(Port, Path)) end,
            ?assertEqual("100 [0]", Get("/letters?100")),
            ?assertEqual("3000000 [0]", Get("/letters?3000000")),
            ?assertEqual("3000000 [0]", Get("/pieces?300")),
            ?assertEqual("3000000 [0]", Get("/file?3000000")),
            Post = [Version, " --data-binary @", Upload],
            ?assertEqual("3000000 [0]", curl(Config, Post, url(Port, "/length"))),
            ?assertEqual("3000000 [0]",
                curl(Config, [Post, " -H 'transfer-encoding: chunked'"], url(Port,
                    "/length")))
        end
     || Version <- ["--http1.1", "--http2"]
    ],
    await_idle().

clear_text_on_the_port(Config) ->
    doc("Who speaks no TLS gets no answer, and the next one who does is served."),
    Port = start(options(Config)),
    ?assertNotMatch({200, _}, hornbeam_case:fetch(Port, "/about")),
    ?assertMatch("https" ++ _, curl(Config, "", url(Port, "/about"))).

%%% What is agreed

alpn_obeys_http_version(Config) ->
    doc("Only versions of HTTP that are switched on are agreed on; a client without ALPN where "
        "only HTTP/2 is spoken reads why it is refused."),
    H1 = <<"http/1.1">>,
    Table = [
        {['HTTP/1.1', 'HTTP/2'], [{[<<"h2">>, H1], <<"h2">>}, {[H1], H1},
            {none, protocol_not_negotiated}, {[<<"h3">>], no_application_protocol}]},
        {['HTTP/1.1'], [{[<<"h2">>, H1], H1}, {[<<"h2">>], no_application_protocol},
            {none, protocol_not_negotiated}]},
        {['HTTP/2'], [{[<<"h2">>, H1], <<"h2">>}, {[H1], no_application_protocol},
            {none, protocol_not_negotiated}]}
    ],
    [
        begin
            Port = start((options(Config))#{http_version => Versions}),
            [?assertEqual({Versions, Offer, Agreed}, {Versions, Offer, do_agreed(Port, Offer)})
                || {Offer, Agreed} <- Offers],
            ok = hornbeam:stop()
        end
     || {Versions, Offers} <- Table
    ],
    Port2 = start((options(Config))#{http_version => ['HTTP/2']}),
    ?assertMatch({match, _}, re:run(curl(Config, "-i --no-alpn", url(Port2, "/about")),
        "HTTP/1.1 505.*only HTTP/2 is spoken here", [dotall])).

do_agreed(Port, Offer) ->
    Options = [{alpn_advertised_protocols, Offer} || Offer =/= none],
    case shake(Port, Options) of
        #{alpn := Agreed} -> Agreed;
        Alert -> Alert
    end.

versions_and_ciphers(Config) ->
    doc("tls_min_version and ciphers decide what is agreed on; a version for which no suite is "
        "named keeps its own."),
    Strong = "ECDHE-ECDSA-AES256-GCM-SHA384",
    Weaker = "ECDHE-ECDSA-AES128-GCM-SHA256",
    Old = [{versions, ['tlsv1.2']}],
    Offer = fun(Name) -> [{ciphers, [ssl:str_to_suite(Name)]} | Old] end,
    Table = [
        {#{}, [{[], {'tlsv1.3', any}}, {Old, {'tlsv1.2', any}},
            {[{versions, ['tlsv1.1']}], protocol_version}]},
        {#{tls_min_version => 'tlsv1.3'}, [{[], {'tlsv1.3', any}}, {Old, protocol_version}]},
        {#{ciphers => [Strong]}, [{Old, {'tlsv1.2', Strong}}, {[], {'tlsv1.3', any}},
            {Offer(Weaker), insufficient_security}]},
        {#{ciphers => Weaker ++ ":" ++ Strong}, [{Old, {'tlsv1.2', Weaker}},
            {Offer(Strong), {'tlsv1.2', Strong}}]},
        {#{ciphers => "TLS_AES_128_GCM_SHA256"},
            [{[], {'tlsv1.3', "TLS_AES_128_GCM_SHA256"}}, {Old, {'tlsv1.2', any}}]}
    ],
    [
        begin
            Port = start(maps:merge(options(Config), Options)),
            [?assertMatch({true, _, _, _}, {do_fits(Expected, Got), Options, Expected, Got})
                || {Client, Expected} <- Clients, Got <- [shake(Port, Client)]],
            ok = hornbeam:stop()
        end
     || {Options, Clients} <- Table
    ].

do_fits({Version, any}, #{version := Version}) -> true;
do_fits({Version, Suite}, #{version := Version, suite := Suite}) -> true;
do_fits(Alert, Alert) -> true;
do_fits(_, _) -> false.

certificates_of_clients(Config) ->
    doc("verify: none asks for none, optional takes a good one or none, required refuses without."),
    Dir = ?config(dir, Config),
    Client = tls_files:certificate(Dir, "client", ?config(root, Config)),
    Foreign = tls_files:certificate(Dir, "foreign", tls_files:authority(Dir, "other")),
    With = fun({Cert, Key}) -> [{certfile, Cert}, {keyfile, Key}] end,
    Table = [
        {none, [{[], ok}, {With(Client), ok}, {With(Foreign), ok}]},
        {optional, [{[], ok}, {With(Client), ok}, {With(Foreign), refused}]},
        {required, [{[], refused}, {With(Client), ok}, {With(Foreign), refused}]}
    ],
    [
        begin
            Files = maps:from_list([{cacertfile, ?config(ca, Config)} || Verify =/= none]),
            Port = start(maps:merge((options(Config))#{verify => Verify}, Files)),
            [?assertEqual({Verify, Version, Options, Expected},
                {Verify, Version, Options, do_outcome(Port, [{versions, [Version]} | Options])})
                || {Options, Expected} <- Cases, Version <- ['tlsv1.2', 'tlsv1.3']],
            ok = hornbeam:stop()
        end
     || {Verify, Cases} <- Table
    ].

do_outcome(Port, Options) ->
    case shake(Port, Options) of
        #{} -> ok;
        %% With TLS 1.3 a client that writes at once may see the end before it reads the alert.
        Alert when is_atom(Alert) -> refused
    end.
